"""Policies with each field of each kind at least once, with a value that is no default; and a mesh for them."""

from __future__ import annotations

from typing import Any

from tests.xds.config.worlds import MTLS, TRANSPARENT, dataplane, mesh, mesh_service

SPIFFE = {"type": "Exact", "value": "spiffe://default/a"}
MATCHES = [{"spiffeID": SPIFFE, "sni": {"type": "Exact", "value": "a.test"}}]
HEADERS = {"set": [{"name": "x-s", "value": "1"}], "add": [{"name": "x-a", "value": "2"}]}
PERCENT = {"percentage": 33}
HASHES = [
    {"type": "Header", "header": {"name": "x-user"}, "terminal": True},
    {"type": "Cookie", "cookie": {"name": "sid", "path": "/p", "ttl": "1h"}},
    {"type": "QueryParameter", "queryParameter": {"name": "q"}},
    {"type": "FilterState", "filterState": {"key": "k"}},
    {"type": "Connection", "connection": {"sourceIP": False}},
]
JSON_FORMAT = {"type": "Json", "json": [{"key": "k", "value": "v"}], "omitEmptyValues": True}
PLAIN_FORMAT = {"type": "Plain", "plain": "%PROTOCOL%"}
LABELS = {"team": "telemetry"}
REF = {"backendRef": {"kind": "MeshOpenTelemetryBackend", "labels": LABELS}}
LOGS = {
    "backends": [
        {"type": "File", "file": {"path": "/dev/stdout", "format": JSON_FORMAT}},
        {"type": "Tcp", "tcp": {"address": "logs.test:1", "format": PLAIN_FORMAT}},
        {"type": "Tcp", "tcp": {"address": "logs.test:2", "format": JSON_FORMAT}},
        {"type": "File", "file": {"path": "/dev/stderr", "format": PLAIN_FORMAT}},
        {
            "type": "OpenTelemetry",
            "openTelemetry": {
                "endpoint": "otel.test:99",
                "attributes": [{"key": "start_time", "value": "b"}],
                "body": {"stringValue": "text"},
            },
        },
        {"type": "OpenTelemetry", "openTelemetry": REF},
    ]
}
TIMEOUTS = {
    "connectionTimeout": "7s",
    "idleTimeout": "8s",
    "http": {
        "requestTimeout": "9s",
        "streamIdleTimeout": "10s",
        "maxStreamDuration": "11s",
        "maxConnectionDuration": "12s",
        "requestHeadersTimeout": "13s",
    },
}
BREAKER = {
    "connectionLimits": {
        "maxConnections": 1,
        "maxConnectionPools": 2,
        "maxPendingRequests": 3,
        "maxRetries": 4,
        "maxRequests": 5,
    },
    "outlierDetection": {
        "disabled": False,
        "interval": "7s",
        "baseEjectionTime": "8s",
        "maxEjectionPercent": 9,
        "splitExternalAndLocalErrors": True,
        "healthyPanicThreshold": 11,
        "detectors": {
            "totalFailures": {"consecutive": 1},
            "gatewayFailures": {"consecutive": 2},
            "localOriginFailures": {"consecutive": 3},
            "successRate": {"minimumHosts": 4, "requestVolume": 6, "standardDeviationFactor": "1.7"},
            "failurePercentage": {"minimumHosts": 7, "requestVolume": 8, "threshold": 9},
        },
    },
}
LIMITS = {
    "local": {
        "http": {
            "disabled": False,
            "requestRate": {"num": 5, "interval": "7s"},
            "onRateLimit": {"status": 423, "headers": HEADERS},
        },
        "tcp": {"disabled": False, "connectionRate": {"num": 6, "interval": "8s"}},
    }
}
FAULTS = {
    "http": [
        {
            "abort": {"httpStatus": 503, **PERCENT},
            "delay": {"value": "5s", **PERCENT},
            "responseBandwidth": {"limit": "7Mbps", **PERCENT},
        }
    ]
}
RETRIED = {
    "numRetries": 7,
    "perTryTimeout": "8s",
    "backOff": {"baseInterval": "9s", "maxInterval": "10s"},
    "rateLimitedBackOff": {"resetHeaders": [{"name": "x", "format": "UnixTimestamp"}], "maxInterval": "11s"},
}
HEADER = [{"name": "x-h", "type": "Exact", "value": "v"}]
BACKEND_REF = {"kind": "MeshService", "name": "db", "port": 5432, "weight": 3}
BACKEND_REFS = [
    BACKEND_REF,
    {"kind": "MeshService", "labels": {"app": "api"}, "port": 80, "weight": 2},
]
HTTP_RULE = {
    "matches": [
        {
            "path": {"type": "PathPrefix", "value": "/old"},
            "method": "GET",
            "headers": HEADER,
            "queryParams": [{"name": "q", "type": "Exact", "value": "v"}],
        }
    ],
    "default": {
        "backendRefs": BACKEND_REFS,
        "filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {**HEADERS, "remove": ["x-r"]}},
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {**HEADERS, "remove": ["x-r"]}},
            {
                "type": "URLRewrite",
                "urlRewrite": {
                    "hostname": "other.test",
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"},
                },
            },
            {"type": "RequestMirror", "requestMirror": {"backendRef": BACKEND_REF, **PERCENT}},
        ],
    },
}
REDIRECT = {
    "scheme": "https",
    "hostname": "other.test",
    "port": 99,
    "statusCode": 301,
    "path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"},
}
HOSTED = {"type": "URLRewrite", "urlRewrite": {"hostToBackendHostname": True}}
ROUTER = "envoy.filters.http.router"
HCM = "envoy.filters.network.http_connection_manager"
GUARD = "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC"
RBAC = f"{{name: f, typedConfig: {{'@type': {GUARD}, statPrefix: f}}}}"
LUA = "name: lua\ntypedConfig: {'@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua}\n"


def _to(default: Any, **target: Any) -> Any:
    return {"to": [{"targetRef": target or {"kind": "Mesh"}, "default": default}]}


def _rules(default: Any) -> Any:
    return {"rules": [{"default": default}]}


def _route(*rules: Any, **more: Any) -> Any:
    return {"to": [{"targetRef": {"kind": "MeshService", "name": "api"}, "rules": list(rules), **more}]}


def _mod(operation: str, **fields: Any) -> Any:
    return {"operation": operation, **fields}


INBOUND_MATCH = {"origin": "inbound", "name": "inbound:192.168.0.1:8080", "tags": {"team": "a"}}
FILTER_MATCH = {
    "origin": "inbound",
    "listenerName": "inbound:192.168.0.1:8080",
    "listenerTags": {"team": "a"},
}
HOST_MATCH = {"origin": "inbound", "name": "web", "routeConfigurationName": "inbound:web"}
MANAGER_MATCH = {**FILTER_MATCH, "name": HCM}
ROUTER_MATCH = {**FILTER_MATCH, "name": ROUTER}


def _add(path: str, value: Any) -> Any:
    return {"op": "add", "path": path, "value": value}


PATCHES = [
    _add("/altStatName", "x"),
    {"op": "copy", "from": "/altStatName", "path": "/name"},
]
CLUSTER_MATCH = {"origin": "outbound", "name": "default_api___msvc_80"}
MODIFICATIONS = [
    [{"cluster": _mod("Patch", match=CLUSTER_MATCH, jsonPatches=PATCHES)}],
    [{"cluster": _mod("Patch", match=CLUSTER_MATCH, value="altStatName: x")}],
    [{"cluster": _mod("Add", value="{name: added, connectTimeout: 1s, type: STATIC}")}],
    [{"listener": _mod("Patch", match=INBOUND_MATCH, jsonPatches=[_add("/statPrefix", "x")])}],
    [{"listener": _mod("Patch", match=INBOUND_MATCH, value="statPrefix: x")}],
    [{"networkFilter": _mod("Patch", match=MANAGER_MATCH, jsonPatches=[_add("/statPrefix", "x")])}],
    [{"networkFilter": _mod("AddBefore", match=MANAGER_MATCH, value=RBAC)}],
    [{"httpFilter": _mod("AddBefore", match=ROUTER_MATCH, value=LUA)}],
    [{"httpFilter": _mod("Patch", match=ROUTER_MATCH, jsonPatches=[_add("/startChildSpan", True)])}],
    [{"virtualHost": _mod("Patch", match=HOST_MATCH, value="requireTls: ALL")}],
    [{"virtualHost": _mod("Patch", match=HOST_MATCH, jsonPatches=[_add("/requireTls", "ALL")])}],
]

LOCALITY = {
    "disabled": False,
    "localZone": {"affinityTags": [{"key": "team", "weight": 70}, {"key": "rack", "weight": 20}]},
    "crossZone": {
        "failover": [
            {"from": {"zones": ["near"]}, "to": {"type": "Only", "zones": ["far"]}},
            {"from": {"zones": ["near"]}, "to": {"type": "AnyExcept", "zones": ["other"]}},
        ],
        "failoverThreshold": {"percentage": 33},
    },
}
BALANCERS = [
    {"type": "LeastRequest", "leastRequest": {"choiceCount": 3, "activeRequestBias": "1.5"}},
    {
        "type": "RingHash",
        "ringHash": {
            "hashFunction": "MurmurHash2",
            "minRingSize": 64,
            "maxRingSize": 99,
            "hashPolicies": HASHES[:1],
        },
    },
    {"type": "Maglev", "maglev": {"tableSize": 17, "hashPolicies": HASHES[:1]}},
]
PROBES = {
    "interval": "10s",
    "timeout": "2s",
    "unhealthyThreshold": 3,
    "healthyThreshold": 2,
    "initialJitter": "5s",
    "intervalJitter": "6s",
    "intervalJitterPercent": 10,
    "healthyPanicThreshold": 40,
    "failTrafficOnPanic": True,
    "noTrafficInterval": "30s",
    "reuseConnection": False,
    "alwaysLogHealthCheckFailures": True,
    "eventLogPath": "/tmp/log",
    "http": {"disabled": False, "path": "/h", "expectedStatuses": [204], "requestHeadersToAdd": HEADERS},
    "grpc": {"disabled": False, "serviceName": "svc", "authority": "auth"},
    "tcp": {"disabled": False, "send": "a", "receive": ["b"]},
}
RETRIES = {
    "tcp": {"maxConnectAttempt": 3},
    "grpc": {**RETRIED, "retryOn": ["Internal"]},
    "http": {
        **RETRIED,
        "retryOn": ["5xx", "503", "HttpMethodGet"],
        "retriableResponseHeaders": HEADER,
        "retriableRequestHeaders": HEADER,
        "hostSelection": [
            {"predicate": "OmitHostsWithTags", "tags": {"team": "a"}},
            {"predicate": "OmitPreviousPriorities", "updateFrequency": 7},
        ],
        "hostSelectionMaxAttempts": 12,
    },
}
METRICS = {
    "sidecar": {
        "includeUnused": True,
        "profiles": {
            "appendProfiles": [{"name": "Basic"}],
            "exclude": [{"type": "Prefix", "match": "a"}],
            "include": [{"type": "Exact", "match": "b"}],
        },
    },
    "applications": [{"name": "app", "path": "/m", "address": "127.0.0.2", "port": 99}],
    "backends": [
        {
            "type": "Prometheus",
            "prometheus": {"clientId": "c", "port": 98, "path": "/p", "tls": {"mode": "ActiveMTLSBackend"}},
        },
        {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.test:97", "refreshInterval": "7s"}},
        {"type": "OpenTelemetry", "openTelemetry": REF},
    ],
}
TRACED = {
    "sampling": {"overall": 11, "client": 12, "random": 13},
    "tags": [{"name": "t", "literal": "v"}, {"name": "h", "header": {"name": "x-h", "default": "d"}}],
}
ZIPKIN = {
    "url": "http://zipkin.test:1/p",
    "apiVersion": "httpProto",
    "traceId128bit": True,
    "sharedSpanContext": False,
}
PERMITTED = {name: [{"spiffeID": SPIFFE, "sni": MATCHES[0]["sni"]}] for name in ("allow", "deny")}
OUTSIDE = [
    {"type": "Domain", "value": "a.test", "port": 443, "protocol": "tls"},
    {"type": "CIDR", "value": "10.1.0.0/16", "port": 99, "protocol": "http"},
]

SAMPLES: dict[str, list[Any]] = {
    "MeshHTTPRoute": [
        _route(HTTP_RULE),
        _route(
            HTTP_RULE | {"default": {"filters": [{"type": "RequestRedirect", "requestRedirect": REDIRECT}]}}
        ),
        _route(HTTP_RULE | {"default": {"filters": [HOSTED]}}),
        {"targetRef": {"kind": "MeshGateway", "name": "edge"}}
        | {"to": [{"targetRef": {"kind": "Mesh"}, "hostnames": ["a.test"], "rules": [HTTP_RULE]}]},
    ],
    "MeshTCPRoute": [
        {
            "to": [
                {
                    "targetRef": {"kind": "MeshService", "name": "db"},
                    "rules": [{"default": {"backendRefs": BACKEND_REFS}}],
                }
            ]
        }
    ],
    "MeshTLS": [
        _rules(
            {
                "mode": "Permissive",
                "tlsVersion": {"min": "TLS12", "max": "TLS13"},
                "tlsCiphers": ["ECDHE-ECDSA-AES256-GCM-SHA384"],
            }
        )
    ],
    "MeshLoadBalancingStrategy": [
        _to({"localityAwareness": LOCALITY, "hashPolicies": HASHES}),
        *(_to({"loadBalancer": balancer}) for balancer in BALANCERS),
    ],
    "MeshPassthrough": [{"default": {"passthroughMode": "All"}}, {"default": {"appendMatch": OUTSIDE}}],
    "MeshAccessLog": [
        _to(LOGS),
        {"rules": [{"matches": MATCHES, "default": {"backends": LOGS["backends"][:1]}}]},
    ],
    "MeshTrace": [
        {"default": {**TRACED, "backends": [{"type": "Zipkin", "zipkin": ZIPKIN}]}},
        {
            "default": {
                "backends": [
                    {"type": "Datadog", "datadog": {"url": "http://dd.test:2", "splitService": True}}
                ]
            }
        },
        {"default": {"backends": [{"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.test:99"}}]}},
        {"default": {"backends": [{"type": "OpenTelemetry", "openTelemetry": REF}]}},
    ],
    "MeshFaultInjection": [
        _rules(FAULTS),
        {"rules": [{"matches": MATCHES, "default": FAULTS}]},
        {"targetRef": {"kind": "MeshGateway", "name": "edge"}, **_to(FAULTS)},
    ],
    "MeshRateLimit": [
        _rules(LIMITS),
        {"rules": [{"matches": MATCHES, "default": {"local": {"http": LIMITS["local"]["http"]}}}]},
        {"targetRef": {"kind": "MeshGateway", "name": "edge"}, **_to(LIMITS)},
    ],
    "MeshTimeout": [
        _to(TIMEOUTS),
        _rules(TIMEOUTS),
        {
            "rules": [
                {"matches": MATCHES, "default": {"http": {"requestTimeout": "9s", "streamIdleTimeout": "8s"}}}
            ]
        },
        {
            "targetRef": {"kind": "MeshGateway", "name": "edge"},
            **_to({"http": {"requestTimeout": "9s", "streamIdleTimeout": "8s"}}),
        },
    ],
    "MeshTrafficPermission": [
        _rules(
            PERMITTED | {"allowWithShadowDeny": [{"spiffeID": {"type": "Prefix", "value": "spiffe://b"}}]}
        ),
        {"from": [{"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}]},
    ],
    "MeshHealthCheck": [_to(PROBES)],
    "MeshCircuitBreaker": [_to(BREAKER), _rules(BREAKER)],
    "MeshRetry": [_to(RETRIES)],
    "MeshMetric": [{"default": METRICS}],
    "MeshProxyPatch": [{"default": {"appendModifications": found}} for found in MODIFICATIONS],
}


# --- a mesh ----------------------------------------------------------------------------------------


def _placed(name: str, zone: str, **tags: str) -> Any:
    found = {"kuma.io/zone": zone, "kuma.io/protocol": "http", **tags}
    return dataplane(name, 80, service="api", address=f"10.0.0.{len(name)}", tags=found)


GATEWAY = {"type": "BUILTIN", "tags": {"kuma.io/service": "edge"}}
EDGE_ROUTE = {"targetRef": {"kind": "MeshGateway", "name": "edge"}} | {
    "to": [
        {
            "targetRef": {"kind": "Mesh"},
            "rules": [
                {
                    "matches": [{"path": {"type": "Exact", "value": "/edge"}}],
                    "default": {"backendRefs": [{"kind": "MeshService", "name": "api", "port": 80}]},
                }
            ],
        }
    ]
}
CLIENT = dataplane(
    "web",
    8080,
    tags={"kuma.io/protocol": "http", "team": "a", "rack": "r", "kuma.io/zone": "near"},
    networking=TRANSPARENT,
)
CLIENT["networking"]["inbound"].append({"port": 5432, "tags": {"kuma.io/service": "web-db"}})
WORLD = [
    mesh(mtls=MTLS),
    CLIENT,
    mesh_service("api", 80, "http", vip="241.0.0.1") | {"labels": {"app": "api"}},
    mesh_service("db", 5432, "tcp", vip="241.0.0.2"),
    mesh_service("rpc", 9000, "grpc", vip="241.0.0.3"),
    _placed("a", "near", team="a"),
    _placed("ab", "near", rack="r"),
    _placed("abc", "far"),
    _placed("abcd", "other"),
    _placed("abcde", "third"),
    {"type": "Dataplane", "mesh": "default", "name": "edge-1"}
    | {"networking": {"address": "192.168.0.9", "gateway": GATEWAY}},
    {
        "type": "MeshGateway",
        "mesh": "default",
        "name": "edge",
        "selectors": [{"match": {"kuma.io/service": "edge"}}],
        "conf": {"listeners": [{"port": 80, "protocol": "HTTP"}]},
    },
    {"type": "MeshHTTPRoute", "mesh": "default", "name": "zz", "spec": EDGE_ROUTE},
    {"type": "MeshOpenTelemetryBackend", "mesh": "default", "name": "otel", "labels": LABELS}
    | {"spec": {"endpoint": {"address": "ref.test", "port": 5}}},
]
