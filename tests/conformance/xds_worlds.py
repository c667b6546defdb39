"""The meshes that the cases of the suite `xds` are run in, and the proxies of each.

They are stored as a zone's control plane would have them: computed labels, MeshServices as generated from
the Dataplanes, and virtual addresses. What the suite's description does not say, the goldens show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh_service

Json = dict[str, Any]

ZONE = "kuma-3"
CLIENT_TAGS = {"team": "client-owners"}
SERVER_TAGS = {"kuma.io/protocol": "http", "version": "v1", "instance": "1", "team": "server-owners"}
FEATURES = (
    "feature-tcp-accesslog-via-named-pipe",
    "feature-otel-via-kuma-dp",
    "feature-strict-inbound-ports",
    "feature-reuse-port",
    "feature-embedded-dns",
    "feature-transparent-proxy-in-dataplane-metadata",
)


class World(NamedTuple):
    """One mesh. documents: what is in it before any case; proxies: the names of those that connect."""

    mesh: str
    documents: Sequence[Json]
    proxies: Sequence[str]


def features(proxy: str) -> list[str]:
    """What a proxy says that it can do; its name may say what it cannot."""
    return [name for name in FEATURES if name != "feature-reuse-port" or "no-reusable-ports" not in proxy]


def worlds() -> dict[str, World]:
    """The world of each folder of the suite."""
    return {"sidecars": sidecars(), "builtingateway": gateway(), "zoneproxies": zone_proxies()}


def allow_all(mesh: str) -> Json:
    spec = {"from": [{"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}]}
    return {"type": "MeshTrafficPermission", "mesh": mesh, "name": f"allow-all-{mesh}", "spec": spec}


def mesh_of(name: str, **more: Any) -> Json:
    return {
        "type": "Mesh",
        "name": name,
        "meshServices": {"mode": "Exclusive"},
        "skipCreatingInitialPolicies": ["*"],
        **more,
    }


# --- sidecars --------------------------------------------------------------------------------------


def sidecars() -> World:
    mesh = "envoyconfig"
    documents = [
        mesh_of(mesh, mtls=MTLS),
        allow_all(mesh),
        dataplane("demo-client", 3000, mesh=mesh, tags=CLIENT_TAGS, networking=TRANSPARENT),
        dataplane(
            "test-server",
            80,
            mesh=mesh,
            service_port=8080,
            tags=SERVER_TAGS,
            address="192.168.0.2",
            networking=TRANSPARENT,
        ),
        mesh_service("demo-client", 3000, "tcp", mesh=mesh, vip="241.0.0.1"),
        mesh_service("test-server", 80, "http", mesh=mesh, vip="241.0.0.2"),
    ]
    return World(mesh, documents, ["demo-client", "test-server"])


# --- a builtin gateway ------------------------------------------------------------------------------


def gateway() -> World:
    mesh, name = "envoyconfig-builtingateway", "gateway-proxy"
    networking = {
        "address": "192.168.0.1",
        "gateway": {"type": "BUILTIN", "tags": {"kuma.io/service": name}},
    }
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "default": {"backendRefs": [{"kind": "MeshService", "name": "echo-service", "port": 80}]},
    }
    to = [{"targetRef": {"kind": "Mesh"}, "hostnames": ["example.kuma.io"], "rules": [rule]}]
    target = {"kind": "MeshGateway", "name": name}
    documents = [
        mesh_of(mesh, mtls=MTLS),
        {"type": "Dataplane", "mesh": mesh, "name": name, "networking": networking},
        {
            "type": "MeshGateway",
            "mesh": mesh,
            "name": name,
            "selectors": [{"match": {"kuma.io/service": name}}],
            "conf": {"listeners": [{"port": 8080, "protocol": "HTTP"}]},
        },
        {"type": "MeshHTTPRoute", "mesh": mesh, "name": "route", "spec": {"targetRef": target, "to": to}},
        dataplane("echo-service", 80, mesh=mesh, tags=SERVER_TAGS, networking=TRANSPARENT),
        mesh_service("echo-service", 80, "http", mesh=mesh, vip="241.0.0.1"),
    ]
    return World(mesh, documents, [name])


# --- zone proxies that are part of the mesh -----------------------------------------------------------


def zone_proxies() -> World:
    mesh, client = "envoyconfig-zoneproxies", "zone-proxy-demo-client"
    servers = ["zone-proxy-test-server", "zone-proxy-test-server-no-reusable-ports"]
    sides = {"zone-proxy-ingress": ("ZoneIngress", 11001), "zone-proxy-egress": ("ZoneEgress", 11002)}
    documents = [
        mesh_of(mesh),
        *_identities(mesh),
        _external_service(mesh),
        *(
            _with_listener(mesh, name, kind, port, f"192.168.0.{port - 10990}")
            for name, (kind, port) in sides.items()
        ),
        *(_sidecar(mesh, name, n + 1, server=name != client) for n, name in enumerate([client, *servers])),
        *(_service(mesh, name, n + 1, server=name != client) for n, name in enumerate([client, *servers])),
    ]
    return World(mesh, documents, [client, *servers, *sides])


def _identities(mesh: str) -> list[Json]:
    ready = [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]
    selector: Json = {"dataplane": {"matchLabels": {}}}
    bundle = {"type": "Pem", "pem": {"value": "CA"}}
    return [
        {
            "type": "MeshIdentity",
            "mesh": mesh,
            "name": "identity",
            "spec": {"selector": selector, "provider": {"type": "Bundled"}},
            "status": {"conditions": ready},
        },
        {
            "type": "MeshTrust",
            "mesh": mesh,
            "name": "identity",
            "spec": {"trustDomain": _trust_domain(mesh), "caBundles": [bundle]},
        },
    ]


def _trust_domain(mesh: str) -> str:
    return f"{mesh}.{ZONE}.mesh.local"


def _external_service(mesh: str) -> Json:
    return {
        "type": "MeshExternalService",
        "mesh": mesh,
        "name": "mes-zone-proxy",
        "labels": {"kuma.io/access": "external", "kuma.io/display-name": "mes-zone-proxy"},
        "spec": {
            "match": {"type": "HostnameGenerator", "port": 80, "protocol": "http"},
            "endpoints": [{"address": "192.168.1.1", "port": 80}],
        },
        "status": {"vip": {"ip": "242.0.0.1"}},
    }


def _with_listener(mesh: str, name: str, kind: str, port: int, address: str) -> Json:
    listener = {"type": kind, "address": address, "port": port, "name": name}
    networking = {"address": address, "listeners": [listener]}
    labels = {"kuma.io/workload": name}
    return {"type": "Dataplane", "mesh": mesh, "name": name, "labels": labels, "networking": networking}


def _sidecar(mesh: str, name: str, number: int, *, server: bool) -> Json:
    address = f"192.168.0.{number}"
    if server:
        ports: Json = {"port": 80, "service_port": 8080, "tags": SERVER_TAGS}
    else:
        ports = {"port": 3000, "tags": CLIENT_TAGS}
    found = dataplane(name, ports.pop("port"), mesh=mesh, address=address, networking=TRANSPARENT, **ports)
    return found | {"labels": {"kuma.io/workload": name}}


def _service(mesh: str, name: str, number: int, *, server: bool) -> Json:
    identities = [
        {"type": "SpiffeID", "value": f"spiffe://{_trust_domain(mesh)}/workload/{name}"},
        {"type": "ServiceTag", "value": name},
    ]
    port, protocol = (80, "http") if server else (3000, "tcp")
    return mesh_service(name, port, protocol, mesh=mesh, vip=f"241.0.0.{number}", identities=identities)
