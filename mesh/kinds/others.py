"""Workload, MeshZoneAddress and MeshOpenTelemetryBackend: small kinds beside the services."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mesh.kinds.base import Int32, Kds, Kind, Model, Port, default
from mesh.kinds.checks.others import validate_backend, validate_workload, validate_zone_address
from mesh.kinds.common import Condition, EmptySpec


class WorkloadProxies(Model):
    connected: Int32 = default(0)
    healthy: Int32 = default(0)
    total: Int32 = default(0)


class WorkloadStatus(Model):
    dataplane_proxies: WorkloadProxies = msgspec.field(default_factory=WorkloadProxies)


class MeshZoneAddress(Model):
    """Where other zones reach this zone's services of the mesh."""

    address: Annotated[str, Meta(min_length=1)]
    port: Port


class OtelEndpoint(Model):
    address: str | None = None
    port: Int32 | None = None
    path: str | None = None


class OtelEnv(Model):
    """Whether the proxy's own OTEL_* environment counts, and which wins."""

    mode: Literal["Disabled", "Optional", "Required"] = default("Optional")
    precedence: Literal["ExplicitFirst", "EnvFirst"] = default("EnvFirst")
    allow_signal_overrides: bool | None = None


class MeshOpenTelemetryBackend(Model):
    """A collector that policies refer to by name."""

    endpoint: OtelEndpoint | None = None
    protocol: Literal["grpc", "http"] | None = None
    env: OtelEnv | None = None


class MeshOpenTelemetryBackendStatus(Model):
    conditions: tuple[Condition, ...] = ()


WORKLOAD = Kind(
    name="Workload",
    scope="mesh",
    path="workloads",
    arg="workload",
    short="wl",
    singular="Workload",
    plural="Workloads",
    spec_type=EmptySpec,
    status_type=WorkloadStatus,
    kds=Kds.ZONE_TO_GLOBAL,
    validate=validate_workload,
)

MESH_ZONE_ADDRESS = Kind(
    name="MeshZoneAddress",
    scope="mesh",
    path="meshzoneaddresses",
    arg="meshzoneaddress",
    short="mza",
    singular="Mesh Zone Address",
    plural="Mesh Zone Addresses",
    spec_type=MeshZoneAddress,
    kds=Kds.ZONE_TO_GLOBAL | Kds.TO_OTHER_ZONES,
    validate=validate_zone_address,
)

MESH_OPEN_TELEMETRY_BACKEND = Kind(
    name="MeshOpenTelemetryBackend",
    scope="mesh",
    path="meshopentelemetrybackends",
    arg="meshopentelemetrybackend",
    short="motb",
    singular="Mesh Open Telemetry Backend",
    plural="Mesh Open Telemetry Backends",
    spec_type=MeshOpenTelemetryBackend,
    status_type=MeshOpenTelemetryBackendStatus,
    kds=Kds.GLOBAL_TO_ZONES | Kds.ZONE_TO_GLOBAL,
    validate=validate_backend,
)
