"""A client knows who has to answer, whoever wrote down what it asks for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service, node, rendered, view_of
from xds.config.source import Source
from xds.types import CLUSTER

Json = dict[str, Any]
READY = [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]
IDENTITY = {
    "type": "MeshIdentity",
    "mesh": "default",
    "name": "identity",
    "spec": {"selector": {"dataplane": {"matchLabels": {}}}, "provider": {"type": "Bundled"}},
    "status": {"conditions": READY},
}


def everywhere(**labels: str) -> Json:
    return {
        "type": "MeshMultiZoneService",
        "mesh": "default",
        "name": "all",
        "spec": {"selector": {"meshService": {"matchLabels": labels}}, "ports": [{"port": 80}]},
        "status": {"vips": [{"ip": "243.0.0.1"}]},
    }


def service(name: str, **more: Any) -> Json:
    """A service with the label `app: api`."""
    labels = {"app": "api", **more.pop("labels", {})}
    return mesh_service(name, vip=f"241.0.0.{len(name)}", **more) | {"labels": labels}


def demanded(cluster: str, *documents: Json) -> set[str]:
    """The identities that `web` demands of a cluster; empty without TLS."""
    client = dataplane("web", 8080, networking=TRANSPARENT)
    settings = {"mtls": MTLS, "meshServices": {"mode": "Exclusive"}}
    source = Source(view_of([mesh(**settings), client, *documents], "zone-1"), zone="zone-1")
    clusters = rendered(source.connect(node("web"), lambda deltas: None).snapshot())[CLUSTER]
    assert not source.failures
    if "transportSocket" not in clusters[cluster]:
        return set()
    context = clusters[cluster]["transportSocket"]["typedConfig"]["commonTlsContext"]
    names = context["combinedValidationContext"]["defaultValidationContext"]["matchTypedSubjectAltNames"]
    return {name["matcher"]["exact"] for name in names}


def test_a_service_of_all_zones_is_answered_for_by_all_its_services() -> None:
    found = demanded("default_all___mzsvc_80", everywhere(app="api"), service("a"), service("bb"))
    assert found == {"spiffe://default/a", "spiffe://default/bb"}


def test_it_waits_for_the_last_of_them_to_have_certificates() -> None:
    late = service("bb")
    late["status"]["tls"] = {"status": "NotReady"}
    assert demanded("default_all___mzsvc_80", everywhere(app="api"), service("a"), late) == set()


@pytest.mark.parametrize(
    "selector",
    [
        {"dataplaneTags": {"version": "v1"}},
        {"dataplaneLabels": {"matchLabels": {"team": "a"}}},
        {"dataplaneRef": {"name": "api-1"}},
    ],
)
def test_a_service_without_identities_is_answered_for_by_its_proxies(selector: Json) -> None:
    one = dataplane("api-1", service="api", tags={"version": "v1"}) | {"labels": {"team": "a"}}
    other = dataplane("other", tags={"version": "v2"}) | {"labels": {"team": "b"}}
    mine = service("mine", selector=selector, identities=[])
    assert demanded("default_mine__zone-1_msvc_80", mine, one, other) == {"spiffe://default/api"}


def test_with_spiffe_identities_by_those() -> None:
    one = dataplane("api-1", service="api") | {"labels": {"kuma.io/workload": "api"}}
    mine = service("mine", selector={"dataplaneTags": {"kuma.io/service": "api"}}, identities=[])
    found = demanded("default_mine__zone-1_msvc_80", mine, one, IDENTITY)
    assert found == {"spiffe://default.zone-1.mesh.local/workload/api", "spiffe://default/api"}
