"""Everything of a mesh but policies, each in several variants, and the proxies that follow it.

Two zones, destinations of every kind, builtin and delegated gateways, entrances and exits of a zone in the mesh and
across meshes, identities by SPIFFE, collectors, secrets. The meshes come with and without mTLS.
"""

from __future__ import annotations

import base64
from typing import Any

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service
from xds.source import NodeInfo

Json = dict[str, Any]
Variants = tuple[Json, ...]

ZONE = "near"
FAR = {"kuma.io/origin": "zone", "kuma.io/zone": "far"}
HTTP = {"kuma.io/protocol": "http"}
READY = {"conditions": [{"type": "Ready", "status": "True", "reason": "Ready", "message": ""}]}


def of_mesh(kind: str, name: str, spec: Json, **more: Any) -> Json:
    return {"type": kind, "mesh": "default", "name": name, "spec": spec, **more}


# --- meshes ----------------------------------------------------------------------------------------

MESHES: Variants = (
    mesh(meshServices={"mode": "Exclusive"}, mtls=MTLS),
    mesh(meshServices={"mode": "Everywhere"}),
    mesh(mtls=MTLS, routing={"zoneEgress": True, "localityAwareLoadBalancing": True}),
    mesh(
        mtls={"enabledBackend": "ca", "backends": [{"name": "ca", "type": "builtin", "mode": "PERMISSIVE"}]},
        networking={"outbound": {"passthrough": False}},
        meshServices={"mode": "ReachableBackends"},
    ),
)
OTHER_MESHES: Variants = (mesh("other", mtls=MTLS), mesh("other"))

# --- dataplanes ------------------------------------------------------------------------------------

OUTBOUNDS: list[Json] = [
    {"port": 10001, "tags": {"kuma.io/service": "old"}},
    {"port": 10002, "backendRef": {"kind": "MeshService", "name": "api", "port": 80}},
    {"port": 10003, "backendRef": {"kind": "MeshMultiZoneService", "name": "everywhere", "port": 80}},
    {"port": 10004, "backendRef": {"kind": "MeshExternalService", "name": "paypal", "port": 443}},
]
REACHABLE = {
    "reachableBackends": {
        "refs": [
            {"kind": "MeshService", "name": "api"},
            {"kind": "MeshService", "labels": {"kuma.io/display-name": "far-api"}},
        ]
    }
}
DIRECT = {"directAccessServices": ["*"]}


def sidecar(name: str, address: str, tags: Json, networking: Json, **more: Any) -> Json:
    document = dataplane(name, 8080, address=address, tags=tags, networking=networking, **more)
    document["networking"]["inbound"][0]["name"] = "main"
    return document | {"labels": {"kuma.io/workload": name, "role": "server"}}


def transparent(**more: Any) -> Json:
    return {"transparentProxying": TRANSPARENT["transparentProxying"] | more}


WEB: Variants = (
    sidecar("web", "10.0.0.1", HTTP | {"version": "v1"}, TRANSPARENT),
    sidecar("web", "10.0.0.1", {"version": "v2"}, {"outbound": OUTBOUNDS}),
    sidecar(
        "web", "10.0.0.1", HTTP | {"version": "v2"}, transparent(**REACHABLE) | {"outbound": OUTBOUNDS[:1]}
    ),
    sidecar("web", "10.0.0.9", HTTP, transparent(**DIRECT, ipFamilyMode="IPv4")),
)


PROBES = {"port": 9000, "endpoints": [{"inboundPort": 8080, "inboundPath": "/up", "path": "/8080/up"}]}
VISITOR = dataplane("visitor", 8080, mesh="other", address="10.0.2.1", networking=TRANSPARENT)


def instances(service: str, number: int) -> Variants:
    tags = ({"version": "v1"} | HTTP, {"version": "v2", "kuma.io/zone": ZONE}, {"kuma.io/protocol": "grpc"})
    address = f"10.0.1.{number}"
    found = [sidecar(f"{service}-{number}", address, each, TRANSPARENT, service=service) for each in tags]
    ill = dataplane(f"{service}-{number}", 8080, address=address, service=service)
    ill["networking"]["inbound"][0]["state"] = "NotReady"
    return (*found, ill)


def with_listener(name: str, kind: str, port: int) -> Variants:
    found = []
    for number in (port, port + 100):
        listener = {"type": kind, "address": "10.0.0.8", "port": number, "name": name}
        networking = {"address": "10.0.0.8", "listeners": [listener]}
        labels = {"kuma.io/workload": name}
        found.append(
            {"type": "Dataplane", "mesh": "default", "name": name, "labels": labels, "networking": networking}
        )
    return tuple(found)


def gateway(name: str, kind: str, **tags: str) -> Json:
    networking = {"address": "10.0.0.7", "gateway": {"type": kind, "tags": {"kuma.io/service": name, **tags}}}
    return {"type": "Dataplane", "mesh": "default", "name": name, "networking": networking}


def delegated(outbounds: list[Json]) -> Json:
    document = gateway("kong", "DELEGATED")
    document["networking"]["outbound"] = outbounds
    return document


# --- destinations ----------------------------------------------------------------------------------


def service(name: str, port: int, protocol: str, vip: str) -> Variants:
    named = mesh_service(name, port, protocol, vip=vip)
    named["spec"]["ports"][0] |= {"name": "http", "targetPort": 8080}
    two = mesh_service(name, port, protocol, vip=vip)
    two["spec"]["ports"] = [
        *named["spec"]["ports"],
        {"port": 8081, "targetPort": 8080, "appProtocol": "tcp", "name": "b"},
    ]
    strict = mesh_service(
        name, port, "tcp", vip=vip, identities=[{"type": "SpiffeID", "value": "spiffe://d/x"}]
    )
    strict["status"]["tls"] = {"status": "NotReady"}
    anonymous = mesh_service(name, port, protocol, vip=vip, identities=[])
    return (named, two, strict, anonymous)


FAR_API = mesh_service("far-api-x7", 80, "http", vip="241.0.0.9") | {
    "labels": FAR | {"kuma.io/display-name": "far-api", "env": "prod"}
}
EVERYWHERE = of_mesh(
    "MeshMultiZoneService",
    "everywhere",
    {
        "selector": {"meshService": {"matchLabels": {"env": "prod"}}},
        "ports": [{"port": 80, "appProtocol": "http"}],
    },
)


def multi_zone(*names: str) -> Json:
    chosen = [{"name": n, "mesh": "default", "zone": ZONE, "namespace": ""} for n in names]
    return EVERYWHERE | {"status": {"vips": [{"ip": "243.0.0.1"}], "meshServices": chosen}}


def external(endpoints: list[Json], protocol: str = "http", **spec: Any) -> Json:
    match = {"type": "HostnameGenerator", "port": 443, "protocol": protocol}
    made = of_mesh("MeshExternalService", "paypal", {"match": match, "endpoints": endpoints, **spec})
    return made | {"status": {"vip": {"ip": "242.0.0.1"}}}


TLS_OUT: Json = {"tls": {"enabled": True, "verification": {"mode": "Secured", "serverName": "paypal.test"}}}
EXTERNAL: Variants = (
    external(
        [{"address": "paypal.test", "port": 443}, {"address": "backup.test", "port": 443, "priority": 1}],
        **TLS_OUT,
    ),
    external([{"address": "192.0.2.1", "port": 8080}]),
    external([{"address": "paypal.test", "port": 443}], "tcp"),
)

# --- gateways, other zones, identities ---------------------------------------------------------------


def mesh_gateway(*listeners: Json) -> Json:
    selectors = [{"match": {"kuma.io/service": "edge"}}]
    return {
        "type": "MeshGateway",
        "mesh": "default",
        "name": "edge",
        "selectors": selectors,
        "conf": {"listeners": list(listeners)},
    }


HTTPS = {
    "port": 443,
    "protocol": "HTTPS",
    "hostname": "a.test",
    "tls": {"mode": "TERMINATE", "certificates": [{"secret": "edge-cert"}]},
}
GATEWAYS: Variants = (
    mesh_gateway({"port": 80, "protocol": "HTTP"}, {"port": 99, "protocol": "TCP"}),
    mesh_gateway(
        {"port": 80, "protocol": "HTTP", "hostname": "*.b.test", "resources": {"connectionLimit": 7}}, HTTPS
    ),
    mesh_gateway({"port": 80, "protocol": "HTTP", "hostname": "b.test", "crossMesh": True}),
    mesh_gateway({"port": 444, "protocol": "TLS", "hostname": "b.test", "tls": {"mode": "PASSTHROUGH"}}),
)


def ingress(name: str, zone: str, **offered: Any) -> Json:
    networking = {
        "address": "10.9.9.9",
        "port": 10001,
        "advertisedAddress": "203.0.113.2",
        "advertisedPort": 30001,
    }
    services = [
        {
            "tags": {"kuma.io/service": "old", "version": "v2", "kuma.io/zone": zone},
            "instances": 3,
            "mesh": "default",
            **offered,
        }
    ]
    return {
        "type": "ZoneIngress",
        "name": name,
        "zone": zone,
        "networking": networking,
        "availableServices": services,
    }


def egress(port: int) -> Json:
    return {
        "type": "ZoneEgress",
        "name": "ze",
        "zone": ZONE,
        "networking": {"address": "10.0.0.9", "port": port},
    }


def secret(name: str, text: str) -> Json:
    return {
        "type": "Secret",
        "mesh": "default",
        "name": name,
        "data": base64.b64encode(text.encode()).decode(),
    }


PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n"


BUNDLED = {
    "type": "Bundled",
    "bundled": {"insecureAllowSelfSigned": True, "autogenerate": {"enabled": True}},
}


def identity(*, ready: bool, **labels: str) -> Json:
    spec = {"selector": {"dataplane": {"matchLabels": labels}}, "provider": BUNDLED}
    return of_mesh("MeshIdentity", "identity", spec, status=READY if ready else {"conditions": []})


def trust(name: str, domain: str) -> Json:
    bundles = [{"type": "Pem", "pem": {"value": PEM}}]
    return of_mesh("MeshTrust", name, {"trustDomain": domain, "caBundles": bundles})


def zone_address(address: str) -> Json:
    return of_mesh("MeshZoneAddress", "far", {"address": address, "port": 10001}, labels=FAR)


def collector(port: int) -> Json:
    return of_mesh(
        "MeshOpenTelemetryBackend",
        "collector",
        {"endpoint": {"address": "otel.test", "port": port}, "protocol": "grpc"},
    )


def pool() -> list[Variants]:
    """One entry for each resource: what it may be. The first of each is the calmest."""
    return [
        MESHES,
        OTHER_MESHES,
        (*WEB, WEB[0] | {"probes": PROBES}),
        (VISITOR, VISITOR | {"labels": {"kuma.io/workload": "visitor"}}),
        *(instances("api", n) for n in (1, 2)),
        *(instances("old", n) for n in (3, 4)),
        instances("db", 5),
        *(with_listener("entrance", "ZoneIngress", 11001), with_listener("exit", "ZoneEgress", 11002)),
        (gateway("edge", "BUILTIN"), gateway("edge", "BUILTIN", version="v2")),
        (delegated(OUTBOUNDS), delegated(OUTBOUNDS[2:])),
        service("api", 80, "http", "241.0.0.1"),
        service("db", 5432, "tcp", "241.0.0.2"),
        service("rpc", 9000, "grpc", "241.0.0.3"),
        (FAR_API, FAR_API | {"status": {"vips": []}}),
        (multi_zone("api"), multi_zone("api", "far-api-x7"), multi_zone()),
        EXTERNAL,
        GATEWAYS,
        (ingress("zi", ZONE), ingress("zi", ZONE, instances=9)),
        (ingress("zi-far", "far"), ingress("zi-far", "far", tags={"kuma.io/service": "api"})),
        (egress(10002), egress(10009)),
        (zone_address("203.0.113.1"), zone_address("203.0.113.9")),
        (secret("edge-cert", PEM + KEY), secret("edge-cert", KEY + PEM), secret("edge-cert", "rubbish")),
        (identity(ready=True), identity(ready=False), identity(ready=True, role="server")),
        (trust("near", "default.near.mesh.local"),),
        (trust("far", "default.far.mesh.local"), trust("far", "elsewhere.test")),
        (collector(4317), collector(4318)),
        ({"type": "Zone", "name": ZONE, "enabled": True}, {"type": "Zone", "name": ZONE, "enabled": False}),
    ]


# --- proxies ---------------------------------------------------------------------------------------

UNIFIED = ["feature-unified-resource-naming", "feature-strict-inbound-ports", "feature-reuse-port"]
ADMIN = {
    "dataplane.admin.port": "9901",
    "dataplane.readinessReporter.port": "9902",
    "metricsSocketPath": "/tmp/m.sock",
}


def node(name: str, *features: str, **metadata: Any) -> NodeInfo:
    return NodeInfo(f"default.{name}", metadata={"features": list(features), **metadata})


PROXIES = (
    node("web", **ADMIN),
    node("web", *UNIFIED, **ADMIN),
    node("web", "feature-dynamic-routes", "feature-embedded-dns", "feature-otel-via-kuma-dp", **ADMIN),
    node("api-1", *UNIFIED),
    node("old-3"),
    node("edge", **ADMIN),
    node("kong"),
    NodeInfo("other.visitor", metadata={"features": []}),
    node("entrance", *UNIFIED),
    node("exit", *UNIFIED),
    NodeInfo(".zi", metadata={"dataplane.proxyType": "ingress"}),
    NodeInfo(".ze", metadata={"dataplane.proxyType": "egress"}),
)
