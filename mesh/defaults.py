"""What exists without anybody writing it: the default mesh, its policies, hostname generators.

They are documents, decoded like everybody's, so what a user reads back is what a user could write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from mesh.codec import DEFAULT_MESH, decode
from mesh.kinds.access import AccessKind
from mesh.labels import Mode
from mesh.resource import Resource

ALL_POLICIES = "*"


def default_mesh(name: str = DEFAULT_MESH) -> Resource:
    """The mesh that is created on a first start, unless switched off."""
    return decode({"type": "Mesh", "name": name})


def default_policies(mesh: Resource) -> list[Resource]:
    """The policies that a new mesh starts with.

    None for a mesh whose `skipCreatingInitialPolicies` has "*"; those of a kind are left out when it
    has that kind's name.
    """
    skipped = set(mesh.spec.skip_creating_initial_policies)
    if ALL_POLICIES in skipped:
        return []
    return [
        decode({"type": kind, "mesh": mesh.name, "name": f"{prefix}-{mesh.name}", "spec": spec})
        for kind, prefix, spec in _POLICIES
        if kind not in skipped
    ]


def _proxies(kind: str) -> dict[str, Any]:
    return {"kind": "Mesh", "proxyTypes": [kind]}


def _all(conf: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"targetRef": {"kind": "Mesh"}, "default": conf}]


_TIMEOUTS = {
    "targetRef": _proxies("Sidecar"),
    "to": _all(
        {
            "connectionTimeout": "5s",
            "idleTimeout": "1h",
            "http": {"requestTimeout": "15s", "streamIdleTimeout": "30m"},
        }
    ),
    "from": _all(
        {
            "connectionTimeout": "10s",
            "idleTimeout": "2h",
            "http": {"requestTimeout": "0s", "streamIdleTimeout": "1h", "maxStreamDuration": "0s"},
        }
    ),
}
_GATEWAY_TIMEOUTS = {
    "targetRef": _proxies("Gateway"),
    "to": _all({"idleTimeout": "1h", "http": {"streamIdleTimeout": "5s"}}),
    "from": _all(
        {"idleTimeout": "5m", "http": {"streamIdleTimeout": "5s", "requestHeadersTimeout": "500ms"}}
    ),
}
_CIRCUIT_BREAKER = {
    "targetRef": {"kind": "Mesh"},
    "to": _all(
        {
            "connectionLimits": {
                "maxConnections": 1024,
                "maxPendingRequests": 1024,
                "maxRetries": 3,
                "maxRequests": 1024,
            }
        }
    ),
}
_BACK_OFF = {
    "numRetries": 5,
    "perTryTimeout": "16s",
    "backOff": {"baseInterval": "25ms", "maxInterval": "250ms"},
}
_RETRY = {
    "targetRef": {"kind": "Mesh"},
    "to": _all({"tcp": {"maxConnectAttempt": 5}, "http": _BACK_OFF, "grpc": _BACK_OFF}),
}
_POLICIES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("MeshTimeout", "mesh-timeout-all", _TIMEOUTS),
    ("MeshTimeout", "mesh-gateways-timeout-all", _GATEWAY_TIMEOUTS),
    ("MeshCircuitBreaker", "mesh-circuit-breaker-all", _CIRCUIT_BREAKER),
    ("MeshRetry", "mesh-retry-all", _RETRY),
)


def default_access() -> list[Resource]:
    """The role that allows everything, and the binding that gives it to everybody, as in Kong Mesh: whoever
    wants to restrict access replaces the binding."""
    everybody = [
        {"type": "Group", "name": f"mesh-system:{who}"} for who in ("authenticated", "unauthenticated")
    ]
    role = {"type": "AccessRole", "name": "admin", "rules": [{"access": list(get_args(AccessKind))}]}
    binding = {"type": "AccessRoleBinding", "name": "default", "subjects": everybody, "roles": ["admin"]}
    return [decode(role), decode(binding)]


def hostname_generators(mode: Mode) -> list[Resource]:
    """The generators that a control plane starts with: for what zones sent, or for its own services."""
    return list(_on_global() if mode == "global" else _on_zone())


def _on_global() -> Iterator[Resource]:
    zone_origin, universal = {"kuma.io/origin": "zone"}, {"kuma.io/env": "universal"}
    kubernetes = {"kuma.io/env": "kubernetes"}
    headless, plain = (
        {"k8s.kuma.io/is-headless-service": "true"},
        {"k8s.kuma.io/is-headless-service": "false"},
    )
    yield _generator(
        "synced-mesh-multi-zone-service",
        "{{ .DisplayName }}.mzsvc.mesh.local",
        "meshMultiZoneService",
        {"kuma.io/origin": "global"},
    )
    yield _generator(
        "synced-kube-mesh-service",
        "{{ .DisplayName }}.{{ .Namespace }}.svc.{{ .Zone }}.mesh.local",
        "meshService",
        zone_origin | kubernetes | plain,
    )
    yield _generator(
        "synced-headless-kube-mesh-service",
        '{{ label "statefulset.kubernetes.io/pod-name" }}.{{ label "k8s.kuma.io/service-name" }}'
        ".{{ .Namespace }}.svc.{{ .Zone }}.mesh.local",
        "meshService",
        zone_origin | kubernetes | headless,
    )
    yield _generator(
        "synced-universal-mesh-service",
        "{{ .DisplayName }}.svc.{{ .Zone }}.mesh.local",
        "meshService",
        zone_origin | universal,
    )
    yield _generator(
        "synced-mesh-external-service",
        "{{ .DisplayName }}.extsvc.mesh.local",
        "meshExternalService",
        {"kuma.io/origin": "global"},
    )


def _on_zone() -> Iterator[Resource]:
    own = {"kuma.io/origin": "zone"}
    yield _generator(
        "local-mesh-external-service", "{{ .DisplayName }}.extsvc.mesh.local", "meshExternalService", own
    )
    yield _generator(
        "local-universal-mesh-service",
        "{{ .DisplayName }}.svc.mesh.local",
        "meshService",
        own | {"kuma.io/env": "universal"},
    )


def _generator(name: str, template: str, selects: str, labels: Mapping[str, str]) -> Resource:
    spec = {"template": template, "selector": {selects: {"matchLabels": dict(labels)}}}
    return decode({"type": "HostnameGenerator", "name": name, "spec": spec})
