"""MeshOpenTelemetryBackend: collectors that policies refer to by labels.

A policy is read with its references resolved, so that nothing after needs to know of them: a backend that
exists becomes its address, one that does not (yet) is left out, and comes with the event that makes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mesh.policy.values import Item
from xds.engine import Context, derivation

DEFAULT_PORT = 4317
OVER_HTTP = "otlp+http"
"""The scheme of endpoints that speak OTLP over HTTP; others speak gRPC."""
BACKEND = "MeshOpenTelemetryBackend"
KINDS = frozenset({"MeshAccessLog", "MeshMetric", "MeshTrace"})
"""Kinds whose backends may be such references."""

Json = Mapping[str, Any]
Labels = tuple[tuple[str, str], ...]


def resolved(ctx: Context, policy: Item) -> Item:
    """The policy with addresses in the place of references."""
    if policy.meta.kind not in KINDS or '"backendRef"' not in str(policy.spec).replace("'", '"'):
        return policy
    return replace(policy, spec=_resolved(ctx, policy.meta.mesh, policy.spec))


def _resolved(ctx: Context, mesh: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_resolved(ctx, mesh, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    found = {key: _resolved(ctx, mesh, inner) for key, inner in value.items() if key != "backends"}
    if "backends" in value:
        backends = (_backend(ctx, mesh, backend) for backend in value["backends"] or ())
        found["backends"] = [backend for backend in backends if backend is not None]
    return found


def _backend(ctx: Context, mesh: str, backend: Json) -> Json | None:
    """A backend with an address; None when it refers to nothing."""
    otel = backend.get("openTelemetry") or {}
    ref = otel.get("backendRef")
    if ref is None:
        return backend
    endpoint = endpoint_of(ctx, mesh, tuple(sorted((ref.get("labels") or {}).items())))
    if not endpoint:
        return None
    rest = {key: value for key, value in otel.items() if key != "backendRef"}
    return {**backend, "openTelemetry": {**rest, "endpoint": endpoint}}


@derivation
def endpoint_of(ctx: Context, mesh: str, labels: Labels) -> str:
    """`host:port` of the first backend by name with all of the labels; "" without one. What speaks OTLP over
    HTTP is a URL, with the path below which it listens."""
    for resource in ctx.list(BACKEND, mesh):
        endpoint = resource.spec.endpoint
        if (
            endpoint is not None
            and endpoint.address
            and labels
            and set(labels) <= set(resource.labels.items())
        ):
            host = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
            place = f"{host}:{endpoint.port or DEFAULT_PORT}"
            if resource.spec.protocol != "http":
                return place
            return f"{OVER_HTTP}://{place}/{(endpoint.path or '').strip('/')}".rstrip("/")
    return ""
