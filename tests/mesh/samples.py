"""A valid document of each kind, and strategies for random valid ones.

A random document of a kind decodes, but seldom makes sense: "at least one of" and the like. So parts of
it are grafted onto the sample of the kind, each kept when what comes of it is still valid.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mesh.codec import decode
from mesh.errors import BadRequest, Invalid
from mesh.kinds.base import Kind
from mesh.registry import KINDS
from mesh.validate import validate
from tests.mesh.strategies import documents_of

Json = dict[str, Any]
MESH: Json = {"kind": "Mesh"}
PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


def _policy(default: Json, *, to: bool = True) -> Json:
    entries = [{"targetRef": MESH, "default": default}]
    top = MESH if to else MESH | {"proxyTypes": ["Sidecar"]}
    return {"spec": {"targetRef": top, ("to" if to else "from"): entries}}


def _single(default: Json) -> Json:
    return {"spec": {"targetRef": MESH, "default": default}}


_FILE = {"type": "File", "file": {"path": "/dev/stdout"}}
_RATE = {"local": {"http": {"requestRate": {"num": 5, "interval": "10s"}}}}
_PORTS = [{"port": 80, "targetPort": 8080, "appProtocol": "http"}]
_BACKEND = {"kind": "MeshService", "name": "web", "port": 80, "weight": 1}
_SPECS: dict[str, Json] = {
    "AccessRole": {"rules": [{"access": ["CREATE"], "types": ["MeshTimeout"], "mesh": "default"}]},
    "AccessRoleBinding": {"subjects": [{"type": "User", "name": "jane"}], "roles": ["r"]},
    "Dataplane": {
        "networking": {
            "address": "10.0.0.1",
            "inbound": [{"port": 8080, "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http"}}],
            "outbound": [{"port": 9090, "tags": {"kuma.io/service": "api"}}],
        }
    },
    "GlobalSecret": {"data": "dGVzdAo="},
    "HostnameGenerator": {
        "spec": {"template": "{{ .Name }}.mesh", "selector": {"meshService": {"matchLabels": {"a": "b"}}}}
    },
    "Mesh": {},
    "MeshAccessLog": _policy({"backends": [_FILE]}),
    "MeshCircuitBreaker": _policy({"connectionLimits": {"maxConnections": 5}}),
    "MeshExternalService": {
        "spec": {
            "match": {"type": "HostnameGenerator", "port": 443, "protocol": "tcp"},
            "endpoints": [{"address": "example.com", "port": 443}],
        }
    },
    "MeshFaultInjection": _policy({"http": [{"abort": {"httpStatus": 503, "percentage": 50}}]}, to=False),
    "MeshGateway": {
        "selectors": [{"match": {"kuma.io/service": "edge"}}],
        "conf": {"listeners": [{"port": 80, "protocol": "HTTP"}]},
    },
    "MeshHTTPRoute": {
        "spec": {
            "targetRef": MESH,
            "to": [
                {
                    "targetRef": {"kind": "MeshService", "name": "web"},
                    "rules": [
                        {
                            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                            "default": {"backendRefs": [_BACKEND]},
                        }
                    ],
                }
            ],
        }
    },
    "MeshHealthCheck": _policy({"interval": "10s", "timeout": "2s", "tcp": {}}),
    "MeshIdentity": {
        "spec": {
            "selector": {"dataplane": {"matchLabels": {}}},
            "provider": {
                "type": "Bundled",
                "bundled": {
                    "meshTrustCreation": "Enabled",
                    "insecureAllowSelfSigned": True,
                    "autogenerate": {"enabled": True},
                },
            },
        }
    },
    "MeshLoadBalancingStrategy": _policy({"loadBalancer": {"type": "RoundRobin"}}),
    "MeshMetric": _single(
        {"backends": [{"type": "Prometheus", "prometheus": {"port": 5670, "path": "/metrics"}}]}
    ),
    "MeshMultiZoneService": {
        "spec": {"selector": {"meshService": {"matchLabels": {"a": "b"}}}, "ports": [{"port": 80}]}
    },
    "MeshOpenTelemetryBackend": {
        "spec": {"endpoint": {"address": "otel.example.com", "port": 4317}, "protocol": "grpc"}
    },
    "MeshPassthrough": _single({"passthroughMode": "All"}),
    "MeshProxyPatch": _single({"appendModifications": [{"cluster": {"operation": "Remove"}}]}),
    "MeshRateLimit": _policy(_RATE, to=False),
    "MeshRetry": _policy({"tcp": {"maxConnectAttempt": 5}}),
    "MeshService": {"spec": {"selector": {"dataplaneTags": {"kuma.io/service": "web"}}, "ports": _PORTS}},
    "MeshTCPRoute": {
        "spec": {
            "targetRef": MESH,
            "to": [
                {
                    "targetRef": {"kind": "MeshService", "name": "web"},
                    "rules": [{"default": {"backendRefs": [_BACKEND]}}],
                }
            ],
        }
    },
    "MeshTLS": _policy({"tlsVersion": {"min": "TLS12"}}, to=False),
    "MeshTimeout": _policy({"connectionTimeout": "5s"}),
    "MeshTrace": _single(
        {"backends": [{"type": "Zipkin", "zipkin": {"url": "http://zipkin:9411/api/v2/spans"}}]}
    ),
    "MeshTrafficPermission": _policy({"action": "Allow"}, to=False),
    "MeshTrust": {
        "spec": {"trustDomain": "example.org", "caBundles": [{"type": "Pem", "pem": {"value": PEM}}]}
    },
    "MeshZoneAddress": {"spec": {"address": "10.0.0.1", "port": 10001}},
    "Secret": {"data": "dGVzdAo="},
    "Workload": {},
    "Zone": {"enabled": True},
    "ZoneEgress": {"networking": {"address": "10.0.0.1", "port": 10002}},
    "ZoneIngress": {
        "networking": {
            "address": "10.0.0.1",
            "port": 10001,
            "advertisedAddress": "1.1.1.1",
            "advertisedPort": 10001,
        }
    },
}
WRITTEN = tuple(kind for kind in KINDS.values() if kind.path and not kind.read_only)
"""The kinds that people write."""


def sample(kind: Kind, name: str = "sample") -> Json:
    """A valid document of a kind that people write."""
    head: Json = {"type": kind.name, "name": name}
    if kind.scope == "mesh":
        head["mesh"] = "default"
    return head | _SPECS[kind.name]


def valid_documents(kind: Kind, name: str = "sample") -> st.SearchStrategy[Json]:
    """Random documents of a kind that pass its validation, all of the same name."""
    return documents_of(kind).map(lambda donor: _grafted(sample(kind, name), donor))


def is_valid(document: Json) -> bool:
    try:
        return not validate(decode(document))
    except (BadRequest, Invalid):
        return False


def _grafted(document: Json, donor: Json) -> Json:
    """The document with all that can be taken over from the donor without making it invalid."""
    for key, value in donor.items():
        if key in ("type", "name", "mesh", "labels", "status"):
            continue
        if is_valid(document | {key: value}):
            document = document | {key: value}
        elif isinstance(value, dict) and isinstance(document.get(key, {}), dict):
            document = _part(document, key, value)
    return document


def _part(document: Json, key: str, donor: Json) -> Json:
    """The same one level down; deeper than that only whole values are taken over."""
    for name, value in donor.items():
        tried = document | {key: document.get(key, {}) | {name: value}}
        if is_valid(tried):
            document = tried
    return document
