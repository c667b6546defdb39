"""What the control plane observed: connections and versions of proxies, counts per mesh and service."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from mesh.kinds.base import Kds, Kind, Model, StringInt, UInt32

# --- proxies -----------------------------------------------------------------------------


class DiscoveryServiceStats(Model):
    """Counters of one xDS type on one stream."""

    responses_sent: StringInt = ""
    responses_acknowledged: StringInt = ""
    responses_rejected: StringInt = ""


class RejectedResource(Model):
    """An Envoy resource that a proxy refuses now: type URL, name, version, and what Envoy said."""

    type: str = ""
    name: str = ""
    version: str = ""
    message: str = ""


class DiscoverySubscriptionStatus(Model):
    """What was sent on one stream, by xDS type, and what of it is refused at present."""

    last_update_time: str | None = None
    total: DiscoveryServiceStats | None = None
    cds: DiscoveryServiceStats | None = None
    eds: DiscoveryServiceStats | None = None
    lds: DiscoveryServiceStats | None = None
    rds: DiscoveryServiceStats | None = None
    rejections: tuple[RejectedResource, ...] = ()


class KumaDpVersion(Model):
    version: str = ""
    git_tag: str = ""
    git_commit: str = ""
    build_date: str = ""
    kuma_cp_compatible: bool = False


class EnvoyVersion(Model):
    version: str = ""
    build: str = ""
    kuma_dp_compatible: bool = False


class Version(Model):
    kuma_dp: KumaDpVersion | None = None
    envoy: EnvoyVersion | None = None
    dependencies: dict[str, str] | None = None


class DiscoverySubscription(Model):
    """One connection of a proxy to one instance of the control plane."""

    id: str = ""
    control_plane_instance_id: str = ""
    connect_time: str | None = None
    disconnect_time: str | None = None
    status: DiscoverySubscriptionStatus | None = None
    version: Version | None = None
    generation: UInt32 = 0


class MtlsInsight(Model):
    """The certificate that a proxy holds."""

    certificate_expiration_time: str | None = None
    last_certificate_regeneration: str | None = None
    certificate_regenerations: UInt32 = 0
    issued_backend: str = ""
    supported_backends: tuple[str, ...] = ()


class DataplaneInsight(Model):
    """What is known of the connections of one Dataplane."""

    subscriptions: tuple[DiscoverySubscription, ...] = ()
    mtls: MtlsInsight | None = field(default=None, name="mTLS")
    metadata: dict[str, Any] | None = None
    open_telemetry: dict[str, Any] | None = None

    @property
    def is_online(self) -> bool:
        """Whether a subscription is open."""
        return any(s.connect_time and not s.disconnect_time for s in self.subscriptions)


class ZoneProxyInsight(Model):
    """What is known of the connections of one zone proxy."""

    subscriptions: tuple[DiscoverySubscription, ...] = ()
    metadata: dict[str, Any] | None = None

    @property
    def is_online(self) -> bool:
        return any(s.connect_time and not s.disconnect_time for s in self.subscriptions)


# --- meshes and services -----------------------------------------------------------------


class DataplaneStat(Model):
    total: UInt32 = 0
    online: UInt32 = 0
    offline: UInt32 = 0
    partially_degraded: UInt32 = 0


class DataplanesByType(Model):
    standard: DataplaneStat | None = None
    gateway: DataplaneStat | None = None
    gateway_builtin: DataplaneStat | None = None
    gateway_delegated: DataplaneStat | None = None


class Stat(Model):
    total: UInt32 = 0


class DpVersions(Model):
    kuma_dp: dict[str, DataplaneStat] | None = None
    envoy: dict[str, DataplaneStat] | None = None


class MeshMtls(Model):
    issued_backends: dict[str, DataplaneStat] | None = None
    supported_backends: dict[str, DataplaneStat] | None = None


class ServiceStat(Model):
    total: UInt32 = 0
    internal: UInt32 = 0
    external: UInt32 = 0


class MeshInsight(Model):
    """Counts of what one mesh holds; carries the name of the mesh."""

    dataplanes: DataplaneStat | None = None
    policies: dict[str, Stat] | None = None
    last_sync: str | None = None
    dp_versions: DpVersions | None = None
    mtls: MeshMtls | None = field(default=None, name="mTLS")
    services: ServiceStat | None = None
    dataplanes_by_type: DataplanesByType | None = None
    resources: dict[str, Stat] | None = None


class ServiceDataplanes(Model):
    total: UInt32 = 0
    online: UInt32 = 0
    offline: UInt32 = 0


ServiceStatus = Literal["not_available", "online", "offline", "partially_degraded"]
ServiceType = Literal["internal", "external", "gateway_delegated", "gateway_builtin"]


class Service(Model):
    """One service of a mesh. `not_available` and `internal` are the zero values, hence not written."""

    status: ServiceStatus = "not_available"
    dataplanes: ServiceDataplanes | None = None
    issued_backends: dict[str, UInt32] | None = None
    service_type: ServiceType = "internal"
    address_port: str = ""
    zones: tuple[str, ...] = ()


class ServiceInsight(Model):
    """All services of one mesh, by name; the object is called `all-services-<mesh>`."""

    services: dict[str, Service] | None = None
    last_sync: str | None = None


DATAPLANE_INSIGHT = Kind(
    name="DataplaneInsight",
    scope="mesh",
    path="dataplane-insights",
    singular="Dataplane Insight",
    plural="Dataplane Insights",
    spec_type=DataplaneInsight,
    wrapped=False,
    read_only=True,
    kds=Kds.ZONE_TO_GLOBAL,
)

ZONE_INGRESS_INSIGHT = Kind(
    name="ZoneIngressInsight",
    scope="global",
    path="zone-ingress-insights",
    singular="Zone Ingress Insight",
    plural="Zone Ingress Insights",
    spec_type=ZoneProxyInsight,
    wrapped=False,
    read_only=True,
    kds=Kds.ZONE_TO_GLOBAL,
)

ZONE_EGRESS_INSIGHT = Kind(
    name="ZoneEgressInsight",
    scope="global",
    path="zoneegressinsights",
    singular="Zone Egress Insight",
    plural="Zone Egress Insights",
    spec_type=ZoneProxyInsight,
    wrapped=False,
    read_only=True,
    kds=Kds.ZONE_TO_GLOBAL,
)

MESH_INSIGHT = Kind(
    name="MeshInsight",
    scope="global",
    path="mesh-insights",
    singular="Mesh Insight",
    plural="Mesh Insights",
    spec_type=MeshInsight,
    wrapped=False,
    read_only=True,
    kds=Kds.WRITABLE_ON_GLOBAL,
)

SERVICE_INSIGHT = Kind(
    name="ServiceInsight",
    scope="mesh",
    path="service-insights",
    singular="Service Insight",
    plural="Service Insights",
    spec_type=ServiceInsight,
    wrapped=False,
    read_only=True,
    kds=Kds.GLOBAL_TO_ZONES,
)
