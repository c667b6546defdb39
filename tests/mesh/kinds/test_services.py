"""What destinations, zones and zone proxies say of themselves."""

from __future__ import annotations

from typing import Any

from mesh.codec import decode, to_document


def spec(kind: str, body: dict[str, Any]) -> Any:
    return decode({"type": kind, "name": "a", "spec": body}).spec


def test_ports_of_a_mesh_service() -> None:
    ports = spec(
        "MeshService", {"ports": [{"port": 80}, {"port": 81, "name": "x", "targetPort": "main"}]}
    ).ports
    assert [(p.section, p.target, p.app_protocol) for p in ports] == [("80", 80, "tcp"), ("x", "main", "tcp")]


def test_ports_of_a_multi_zone_service() -> None:
    body = {"selector": {"meshService": {}}, "ports": [{"port": 80}, {"port": 81, "name": "x"}]}
    assert [p.section for p in spec("MeshMultiZoneService", body).ports] == ["80", "x"]


def test_the_status_of_a_new_destination() -> None:
    service = decode({"type": "MeshService", "name": "a", "spec": {}})
    assert to_document(service)["status"] == {"tls": {}, "dataplaneProxies": {}}
    workload = decode({"type": "Workload", "name": "a"})
    counts = {"connected": 0, "healthy": 0, "total": 0}
    assert to_document(workload)["status"] == {"dataplaneProxies": counts}


def test_zones_are_enabled_unless_switched_off() -> None:
    assert decode({"type": "Zone", "name": "z"}).spec.is_enabled
    assert not decode({"type": "Zone", "name": "z", "enabled": False}).spec.is_enabled


def test_an_ingress_is_advertised_with_both_address_and_port() -> None:
    def advertised(**networking: Any) -> bool:
        ingress = decode({"type": "ZoneIngress", "name": "z", "networking": networking}).spec
        return bool(ingress.is_advertised)

    assert advertised(advertisedAddress="1.1.1.1", advertisedPort=1)
    assert not advertised(advertisedAddress="1.1.1.1")
    assert not decode({"type": "ZoneIngress", "name": "z"}).spec.is_advertised


def test_available_services_by_name() -> None:
    ingress = decode(
        {"type": "ZoneIngress", "name": "z", "availableServices": [{"tags": {"kuma.io/service": "a"}}, {}]}
    )
    assert [s.service for s in ingress.spec.available_services] == ["a", ""]
