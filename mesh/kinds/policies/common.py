"""Structs and bounds that policies share: what a policy selects, and small pieces of configuration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mesh.kinds.base import Int32, Labels, Model, Tags, default

RefKind = Literal[
    "Mesh",
    "MeshSubset",
    "MeshGateway",
    "MeshService",
    "MeshExternalService",
    "MeshMultiZoneService",
    "MeshServiceSubset",
    "MeshHTTPRoute",
    "Dataplane",
]

HeaderName = Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[a-z0-9!#$%&'*+\-.^_\x60|~]+$")]


class TargetRef(Model):
    """Selects proxies (top level), destinations (`to`) or sources (`from`)."""

    kind: RefKind
    name: str | None = None
    namespace: str | None = None
    labels: Labels | None = None
    section_name: str | None = None
    tags: Tags | None = None
    mesh: str | None = None
    proxy_types: tuple[str, ...] | None = None


class BackendRef(Model):
    """A destination that a route sends traffic to, with its share of it."""

    kind: RefKind
    name: str | None = None
    namespace: str | None = None
    labels: Labels | None = None
    section_name: str | None = None
    tags: Tags | None = None
    mesh: str | None = None
    proxy_types: tuple[str, ...] | None = None
    port: Int32 | None = None
    weight: Annotated[int, Meta(ge=0)] = default(1)


class HeaderKeyValue(Model):
    """A header as it is sent.  Several values are separated by commas."""

    name: HeaderName
    value: str


class HeaderModifier(Model):
    """Changes of headers: replaced, added to what is there, taken away."""

    set: Annotated[tuple[HeaderKeyValue, ...], Meta(max_length=16)] | None = None
    add: Annotated[tuple[HeaderKeyValue, ...], Meta(max_length=16)] | None = None
    remove: Annotated[tuple[str, ...], Meta(max_length=16)] | None = None


class HeaderMatch(Model):
    """A condition on a header."""

    name: HeaderName
    type: Literal["Exact", "Present", "RegularExpression", "Absent", "Prefix"] = default("Exact")
    value: str | None = None


class SpiffeIDMatch(Model):
    """Matches the identity of the client."""

    type: Literal["Exact", "Prefix"]
    value: str


class SNIMatch(Model):
    """Matches the server name that the client asked for."""

    type: Literal["Exact"]
    value: str


class Match(Model):
    """Which requests an inbound rule is for; what is given must all hold."""

    spiffe_id: SpiffeIDMatch | None = msgspec.field(default=None, name="spiffeID")
    sni: SNIMatch | None = None


class BackendResourceRef(Model):
    """Names a MeshOpenTelemetryBackend by its labels."""

    kind: Literal["MeshOpenTelemetryBackend"]
    labels: Labels | None = None


class OpenTelemetry(Model):
    """A collector: an address, or a backend resource."""

    endpoint: str = default("")
    backend_ref: BackendResourceRef | None = None


class OtelCondition(Model):
    """Whether the telemetry backends that a policy names were found."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


class PolicyStatus(Model):
    """What the control plane found out about a policy."""

    conditions: tuple[OtelCondition, ...] | None = None


FreeForm = Any
