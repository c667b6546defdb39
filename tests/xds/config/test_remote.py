"""Endpoints in other zones: through their entrances, with certificates only."""

from __future__ import annotations

from typing import Any

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service, node, rendered, view_of
from xds.config.source import Source
from xds.types import ENDPOINT

FAR = {"kuma.io/origin": "zone", "kuma.io/zone": "far", "kuma.io/display-name": "api"}
ADDRESS = {
    "type": "MeshZoneAddress",
    "mesh": "default",
    "name": "far",
    "labels": {"kuma.io/zone": "far", "kuma.io/origin": "zone"},
    "spec": {"address": "203.0.113.1", "port": 10001},
}


def ingress(name: str, advertised: bool = True, zone: str = "far", **service: Any) -> dict[str, Any]:
    networking: dict[str, Any] = {"address": "10.9.9.9", "port": 10001}
    if advertised:
        networking |= {"advertisedAddress": "203.0.113.2", "advertisedPort": 30001}
    offered = {
        "tags": {"kuma.io/service": "api", "version": "v2"},
        "instances": 3,
        "mesh": "default",
        **service,
    }
    return {
        "type": "ZoneIngress",
        "name": name,
        "zone": zone,
        "networking": networking,
        "availableServices": [offered],
    }


def far_service() -> dict[str, Any]:
    return mesh_service("api-copy", 80, vip="241.0.0.1") | {
        "labels": FAR,
        "status": {"vips": [{"ip": "241.0.0.1"}]},
    }


def assignment(*documents: dict[str, Any], name: str, mtls: bool = True) -> list[tuple[str, str, int, int]]:
    """(zone, address, port, weight) of each endpoint of a cluster of `web` in zone `near`."""
    outbound = [{"port": 10001, "tags": {"kuma.io/service": "api"}}]
    client = dataplane("web", 8080, networking=TRANSPARENT | {"outbound": outbound})
    settings: dict[str, Any] = {"mtls": MTLS} if mtls else {}
    source = Source(view_of([mesh(**settings), client, *documents], "near"), zone="near")
    found = rendered(source.connect(node("web"), lambda deltas: None).snapshot())[ENDPOINT][name]
    return [
        (part["locality"]["zone"], address["address"], address["portValue"], endpoint["loadBalancingWeight"])
        for part in found.get("endpoints", ())
        for endpoint in part["lbEndpoints"]
        for address in [endpoint["endpoint"]["address"]["socketAddress"]]
    ]


SERVICE = "default_api__far_msvc_80"


def test_a_service_of_another_zone_is_at_its_zone_address() -> None:
    found = assignment(far_service(), ADDRESS, ingress("i"), name=SERVICE)
    assert found == [("far", "203.0.113.1", 10001, 1)]


def test_or_at_the_public_address_of_its_ingresses_each_once() -> None:
    found = assignment(far_service(), ingress("i-1"), ingress("i-2"), name=SERVICE)
    assert found == [("far", "203.0.113.2", 30001, 1)]


def test_an_ingress_without_a_public_address_is_no_entrance() -> None:
    assert assignment(far_service(), ingress("i", advertised=False), name=SERVICE) == []


def test_without_certificates_zones_are_not_crossed() -> None:
    assert assignment(far_service(), ADDRESS, name=SERVICE, mtls=False) == []


def test_a_disabled_zone_gets_nothing() -> None:
    disabled = {"type": "Zone", "name": "far", "enabled": False}
    assert assignment(far_service(), ADDRESS, disabled, name=SERVICE) == []
    assert assignment(ingress("i"), disabled, name="api") == []


def test_old_services_are_weighted_by_the_instances_behind_an_ingress() -> None:
    near = dataplane("api-1", 80, service="api", address="10.0.0.1")
    found = assignment(near, ingress("i"), name="api")
    assert found == [("far", "203.0.113.2", 30001, 3), ("near", "10.0.0.1", 80, 1)]


def test_the_own_ingress_and_other_meshes_do_not_count() -> None:
    assert assignment(ingress("own", zone="near"), ingress("other", mesh="elsewhere"), name="api") == []


def test_a_service_of_all_zones_has_near_and_far_endpoints() -> None:
    labelled = mesh_service("api", 80) | {"labels": {"app": "api"}}
    copy = far_service() | {"labels": FAR | {"app": "api"}}
    everywhere = {
        "type": "MeshMultiZoneService",
        "mesh": "default",
        "name": "api",
        "labels": {"kuma.io/origin": "global", "kuma.io/display-name": "api"},
        "spec": {"selector": {"meshService": {"matchLabels": {"app": "api"}}}, "ports": [{"port": 80}]},
        "status": {"vips": [{"ip": "243.0.0.1"}]},
    }
    near = dataplane("api-1", 80, service="api", address="10.0.0.1")
    found = assignment(labelled, copy, everywhere, near, ADDRESS, name="default_api___mzsvc_80")
    assert [(zone, address) for zone, address, *_ in found] == [("far", "203.0.113.1"), ("near", "10.0.0.1")]
