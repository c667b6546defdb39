"""What is counted of meshes, services and everything."""

from __future__ import annotations

from typing import Any

from mesh.codec import decode, to_document
from mesh.insights import global_insight, mesh_insight, service_insight
from mesh.resource import Resource
from mesh.view import View

NOW = "2026-01-01T00:00:00Z"
DEFAULT = decode({"type": "Mesh", "name": "default"})


def proxy(name: str, *inbounds: tuple[str, str], **networking: Any) -> Resource:
    """A Dataplane; each inbound is (service, state)."""
    inbound = [
        {"port": 80 + number, "state": state, "tags": {"kuma.io/service": service}}
        for number, (service, state) in enumerate(inbounds)
    ]
    given = {"address": "10.0.0.1", **({"inbound": inbound} if inbound else {}), **networking}
    return decode({"type": "Dataplane", "name": name, "networking": given})


def gateway(name: str, service: str, kind: str) -> Resource:
    return proxy(name, gateway={"type": kind, "tags": {"kuma.io/service": service}})


def connected(name: str, version: str = "", backend: str = "") -> Resource:
    subscription: dict[str, Any] = {"id": "1", "connectTime": NOW}
    if version:
        subscription["version"] = {"kumaDp": {"version": version}, "envoy": {"version": f"e{version}"}}
    document: dict[str, Any] = {"type": "DataplaneInsight", "name": name, "subscriptions": [subscription]}
    if backend:
        document["mTLS"] = {"issuedBackend": backend, "supportedBackends": [backend, "ca-9"]}
    return decode(document)


READY, NOT_READY = "Ready", "NotReady"
VIEW = View.of(
    [
        DEFAULT,
        proxy("a", ("web", READY), ("api", NOT_READY)),
        connected("a", "1", "ca-1"),
        proxy("b", ("web", READY)),
        gateway("g", "edge", "DELEGATED"),
        connected("g"),
        gateway("h", "front", "BUILTIN"),
        decode({"type": "MeshTimeout", "name": "t", "spec": {"to": []}}),
        decode({"type": "Secret", "name": "s", "data": "eA=="}),
        decode({"type": "Zone", "name": "z"}),
        decode({"type": "ZoneInsight", "name": "z", "subscriptions": [{"id": "1", "connectTime": NOW}]}),
    ]
)


def test_a_mesh_is_counted() -> None:
    found = to_document(mesh_insight(VIEW, "default"))
    assert found["dataplanes"] == {"total": 4, "online": 1, "offline": 2, "partiallyDegraded": 1}
    assert found["dataplanesByType"] == {
        "standard": {"total": 2, "offline": 1, "partiallyDegraded": 1},
        "gateway": {"total": 2, "online": 1, "offline": 1},
        "gatewayBuiltin": {"total": 1, "offline": 1},
        "gatewayDelegated": {"total": 1, "online": 1},
    }
    assert found["policies"] == {"MeshTimeout": {"total": 1}}
    assert found["resources"] == {
        "Dataplane": {"total": 4},
        "MeshTimeout": {"total": 1},
        "Secret": {"total": 1},
    }
    assert found["services"] == {"total": 4, "internal": 4}


def test_versions_and_backends_are_counted_by_the_newest_connection() -> None:
    found = to_document(mesh_insight(VIEW, "default"))
    degraded = {"total": 1, "partiallyDegraded": 1}
    assert found["dpVersions"]["kumaDp"] == {
        "1": degraded,
        "unknown": {"total": 3, "online": 1, "offline": 2},
    }
    assert found["dpVersions"]["envoy"].keys() == {"e1", "unknown"}
    assert found["mTLS"] == {
        "issuedBackends": {"ca-1": degraded},
        "supportedBackends": {"ca-1": degraded, "ca-9": degraded},
    }


def test_a_service_is_as_ready_as_its_inbounds() -> None:
    services = to_document(service_insight(VIEW, "default"))["services"]
    assert services == {
        "api": {
            "status": "offline",
            "dataplanes": {"total": 1, "offline": 1},
            "issuedBackends": {"ca-1": 1},
        },
        "edge": {
            "status": "online",
            "dataplanes": {"total": 1, "online": 1},
            "serviceType": "gateway_delegated",
        },
        "front": {
            "status": "offline",
            "dataplanes": {"total": 1, "offline": 1},
            "serviceType": "gateway_builtin",
        },
        "web": {
            "status": "partially_degraded",
            "dataplanes": {"total": 2, "online": 1, "offline": 1},
            "issuedBackends": {"ca-1": 1},
        },
    }


def test_zones_of_a_service_come_from_labels_or_tags() -> None:
    tagged = {"address": "10.0.0.1", "inbound": [{"port": 80, "tags": {"kuma.io/service": "web"}}]}
    tagged["inbound"][0]["tags"]["kuma.io/zone"] = "west"  # type: ignore[index]
    view = View.of(
        [
            decode(
                {"type": "Dataplane", "name": "a", "labels": {"kuma.io/zone": "east"}, "networking": tagged}
            ),
            decode({"type": "Dataplane", "name": "b", "networking": tagged}),
        ]
    )
    assert to_document(service_insight(view, "default"))["services"]["web"]["zones"] == ["east", "west"]


def test_what_is_stored_is_taken_as_it_is() -> None:
    stored = decode({"type": "MeshInsight", "name": "default", "dataplanes": {"total": 7}})
    assert mesh_insight(View.of([DEFAULT, stored]), "default") is stored


def test_everything_is_counted() -> None:
    found = global_insight(VIEW, NOW)
    assert found["createdAt"] == NOW
    assert found["meshes"] == {"total": 1}
    assert found["zones"] == {
        "controlPlanes": {"online": 1, "total": 1},
        "zoneIngresses": {"online": 0, "total": 0},
        "zoneEgresses": {"online": 0, "total": 0},
    }
    assert found["dataplanes"]["standard"] == {
        "online": 0,
        "offline": 1,
        "partiallyDegraded": 1,
        "total": 2,
    }
    assert found["services"]["internal"] == {"online": 0, "offline": 1, "partiallyDegraded": 1, "total": 2}
    assert found["policies"] == {"total": 1}
    assert found["resources"] == {
        "Dataplane": {"total": 4},
        "Mesh": {"total": 1},
        "MeshTimeout": {"total": 1},
        "Secret": {"total": 1},
        "Zone": {"total": 1},
    }
