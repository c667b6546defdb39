"""Policies of all sixteen kinds, each in several variants: what random histories put, replace and delete.

Together they use every list that a kind has (`to`, `from`, `rules`, `default`), every top-level target, sections,
subsets, references by label, the shadow, and each sort of backend.
"""

from __future__ import annotations

from typing import Any

from tests.xds.config.worlds import policy

Json = dict[str, Any]

MESH = {"kind": "Mesh"}
API = {"kind": "MeshService", "name": "api"}
API_PORT = API | {"sectionName": "http"}
DB = {"kind": "MeshService", "name": "db"}
FAR = {"kind": "MeshService", "labels": {"kuma.io/display-name": "far-api"}}
EVERYWHERE = {"kind": "MeshMultiZoneService", "name": "everywhere"}
PAYPAL = {"kind": "MeshExternalService", "name": "paypal"}
OLD = {"kind": "MeshService", "name": "old"}  # known by its tag only
WEB = {"kind": "Dataplane", "name": "web"}
WEB_PORT = WEB | {"sectionName": "main"}
SERVERS = {"kind": "Dataplane", "labels": {"role": "server"}}
SIDECARS = MESH | {"proxyTypes": ["Sidecar"]}
GATEWAYS = MESH | {"proxyTypes": ["Gateway"]}
EDGE = {"kind": "MeshGateway", "name": "edge"}
V2 = {"kind": "MeshSubset", "tags": {"version": "v2"}}
ROUTE = {"kind": "MeshHTTPRoute", "name": "split"}


def to(target: Json, default: Json, top: Json = MESH) -> Json:
    return {"targetRef": top, "to": [{"targetRef": target, "default": default}]}


def from_(default: Json, top: Json = MESH, client: Json = MESH) -> Json:
    return {"targetRef": top, "from": [{"targetRef": client, "default": default}]}


def rules(default: Json, top: Json = MESH, **matches: Any) -> Json:
    return {"targetRef": top, "rules": [{**matches, "default": default}]}


def single(default: Json, top: Json = MESH) -> Json:
    return {"targetRef": top, "default": default}


SPIFFE = {"type": "Exact", "value": "spiffe://default.near.mesh.local/workload/web"}
FILE = {"type": "File", "file": {"path": "/tmp/log", "format": {"type": "Plain", "plain": "%RESPONSE_CODE%"}}}
OTEL_LOG = {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "collector.test:4317"}}
REF_LOG = {
    "type": "OpenTelemetry",
    "openTelemetry": {
        "backendRef": {"kind": "MeshOpenTelemetryBackend", "labels": {"kuma.io/display-name": "collector"}}
    },
}


def rate(number: int) -> Json:
    return {
        "local": {
            "http": {"requestRate": {"num": number, "interval": "10s"}},
            "tcp": {"connectionRate": {"num": number, "interval": "1s"}},
        }
    }


def fault(status: int) -> Json:
    return {"http": [{"abort": {"httpStatus": status, "percentage": 50}}]}


def hashed(header: str) -> Json:
    policies = [{"type": "Header", "header": {"name": header}}]
    return {"loadBalancer": {"type": "RingHash", "ringHash": {}}, "hashPolicies": policies}


def http_rules(refs: list[Json], path: str = "/", **default: Any) -> list[Json]:
    matches = [{"path": {"type": "PathPrefix", "value": path}}]
    return [{"matches": matches, "default": {"backendRefs": refs, **default}}]


def routes(target: Json, found: list[Json], top: Json = MESH) -> Json:
    return {"targetRef": top, "to": [{"targetRef": target, "rules": found}]}


def backend(ref: Json, port: int, weight: int = 1) -> Json:
    return ref | {"port": port, "weight": weight}


MIRROR = {
    "type": "RequestMirror",
    "requestMirror": {"backendRef": backend(DB, 5432), "percentage": 10},
}
HEADER = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "1"}]}}
OLD_V2 = {"kind": "MeshServiceSubset", "name": "old", "tags": {"version": "v2"}, "weight": 10}
ACROSS = {
    "localityAwareness": {
        "localZone": {"affinityTags": [{"key": "version"}]},
        "crossZone": {"failover": [{"to": {"type": "Any"}}]},
    }
}


def patch(**modification: Any) -> Json:
    return {"appendModifications": [modification]}


FASTER = patch(cluster={"operation": "Patch", "value": "connect_timeout: 9s"})
WITHOUT = patch(listener={"operation": "Remove", "match": {"origin": "outbound"}})
BROKEN = patch(
    cluster={
        "operation": "Patch",
        "jsonPatches": [{"op": "replace", "path": "/noSuchField", "value": "x"}],
    }
)

ADDED = patch(
    cluster={
        "operation": "Add",
        "value": "{name: added, connect_timeout: 5s, type: STATIC, alt_stat_name: added}",
    }
)

# Kind -> the specs that its policies may have. Each policy of a kind may get any of them at any time.
SPECS: dict[str, tuple[Json, ...]] = {
    "MeshHTTPRoute": (
        routes(API, http_rules([backend(API, 80, 9), backend(EVERYWHERE, 80)])),
        routes(API, http_rules([backend(PAYPAL, 443)], "/pay", filters=[HEADER])),
        routes(API_PORT, http_rules([], "/lost"), WEB),
        routes(OLD, http_rules([OLD_V2])),
        routes(MESH, http_rules([backend(API, 80)], filters=[MIRROR]), EDGE),
        routes(MESH, http_rules([backend(FAR, 80)]), EDGE),
    ),
    "MeshTCPRoute": (
        routes(DB, [{"default": {"backendRefs": [backend(DB, 5432, 3), backend(EVERYWHERE, 80)]}}]),
        routes(OLD, [{"default": {"backendRefs": [OLD_V2]}}], WEB),
        routes(MESH, [{"default": {"backendRefs": [backend(DB, 5432)]}}], EDGE),
    ),
    "MeshTLS": (
        from_({"tlsVersion": {"min": "TLS12"}}, SIDECARS),
        rules({"mode": "Permissive"}, WEB),
        rules({"mode": "Strict", "tlsVersion": {"min": "TLS13", "max": "TLS13"}}),
    ),
    "MeshLoadBalancingStrategy": (
        to(MESH, {"loadBalancer": {"type": "LeastRequest"}}),
        to(API, hashed("x-user"), WEB),
        to(EVERYWHERE, ACROSS),
        to(OLD, ACROSS),
        to(MESH, hashed("x-edge"), EDGE),
    ),
    "MeshPassthrough": (
        single({"passthroughMode": "All"}),
        single({"passthroughMode": "None"}, WEB),
        single(
            {
                "passthroughMode": "Matched",
                "appendMatch": [
                    {"type": "Domain", "value": "*.example.com", "protocol": "tls", "port": 443},
                    {"type": "IP", "value": "192.0.2.7", "protocol": "tcp"},
                ],
            }
        ),
    ),
    "MeshAccessLog": (
        to(MESH, {"backends": [FILE]}),
        to(API, {"backends": [OTEL_LOG]}, WEB),
        from_({"backends": [FILE]}, SIDECARS),
        rules({"backends": [REF_LOG]}, SERVERS),
        to(MESH, {"backends": [FILE]}, EDGE),
    ),
    "MeshTrace": (
        single(
            {
                "backends": [{"type": "Zipkin", "zipkin": {"url": "http://zipkin.test:9411/api/v2/spans"}}],
                "sampling": {"overall": 50},
                "tags": [{"name": "team", "literal": "core"}],
            }
        ),
        single(
            {"backends": [{"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.test:4317"}}]}, WEB
        ),
        single({"backends": [REF_LOG]}, GATEWAYS),
    ),
    "MeshFaultInjection": (
        from_(fault(503), SIDECARS),
        from_(fault(501), SIDECARS, V2),
        rules(fault(504), WEB_PORT, matches=[{"spiffeID": SPIFFE}]),
        to(MESH, fault(505), EDGE),
    ),
    "MeshRateLimit": (
        from_(rate(5), SIDECARS),
        rules(rate(6), WEB),
        rules(rate(7)),
        to(MESH, rate(8), EDGE),
    ),
    "MeshTimeout": (
        to(MESH, {"connectionTimeout": "7s", "http": {"requestTimeout": "3s"}}),
        to(API, {"http": {"requestTimeout": "4s"}}, WEB),
        to(ROUTE, {"http": {"requestTimeout": "5s"}}),
        to(PAYPAL, {"idleTimeout": "9m"}),
        from_({"http": {"streamIdleTimeout": "11s"}}, SIDECARS),
        rules({"idleTimeout": "1m"}, WEB_PORT),
        to(MESH, {"http": {"requestTimeout": "6s"}}, EDGE),
    ),
    "MeshTrafficPermission": (
        from_({"action": "Allow"}),
        from_({"action": "Deny"}, WEB, V2),
        rules({"allow": [{"spiffeID": SPIFFE}]}),
        rules(
            {"deny": [{"spiffeID": SPIFFE}], "allow": [{"spiffeID": SPIFFE | {"type": "Prefix"}}]}, SERVERS
        ),
    ),
    "MeshHealthCheck": (
        to(MESH, {"interval": "10s", "timeout": "2s", "tcp": {}}),
        to(API, {"interval": "5s", "http": {"path": "/health", "expectedStatuses": [200]}}, WEB),
        to(EVERYWHERE, {"interval": "5s", "grpc": {"serviceName": "x"}}),
        to(MESH, {"interval": "15s", "tcp": {}}, EDGE),
    ),
    "MeshCircuitBreaker": (
        to(MESH, {"connectionLimits": {"maxConnections": 5}}),
        to(
            DB,
            {"outlierDetection": {"interval": "5s", "detectors": {"totalFailures": {"consecutive": 3}}}},
            V2,
        ),
        from_({"connectionLimits": {"maxPendingRequests": 6}}, SIDECARS),
        rules({"connectionLimits": {"maxRequests": 7}}, SERVERS),
        to(MESH, {"connectionLimits": {"maxRetries": 2}}, EDGE),
    ),
    "MeshRetry": (
        to(MESH, {"tcp": {"maxConnectAttempt": 5}}),
        to(API, {"http": {"numRetries": 4, "retryOn": ["5xx"]}}, WEB),
        to({"kind": "MeshService", "name": "rpc"}, {"grpc": {"numRetries": 2, "retryOn": ["Unavailable"]}}),
        to(MESH, {"http": {"numRetries": 1}}, EDGE),
    ),
    "MeshMetric": (
        single({"backends": [{"type": "Prometheus", "prometheus": {"port": 5670, "path": "/metrics"}}]}),
        single(
            {
                "backends": [
                    {"type": "Prometheus", "prometheus": {"port": 5671, "tls": {"mode": "ActiveMTLSBackend"}}}
                ]
            },
            WEB,
        ),
        single(
            {
                "backends": [{"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.test:4317"}}],
                "applications": [{"path": "/m", "port": 8888}],
            },
            SERVERS,
        ),
    ),
    "MeshProxyPatch": (single(FASTER), single(WITHOUT, WEB), single(BROKEN, WEB), single(ADDED, GATEWAYS)),
}

SHADOW = {"kuma.io/effect": "shadow"}
# In each kind two policies of the same make, which override one another, and one that is on trial.
NAMES: dict[str, Json] = {"first": {}, "split": {}, "trial": SHADOW}


def variants(kind: str) -> dict[str, tuple[Json, ...]]:
    """Name of a policy -> the documents it may be."""
    found: dict[str, tuple[Json, ...]] = {}
    for name, labels in NAMES.items():
        made = (policy(kind, name, **spec) for spec in SPECS[kind])
        found[name] = tuple(document | {"labels": labels} if labels else document for document in made)
    return found
