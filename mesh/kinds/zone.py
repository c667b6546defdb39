"""Zone: a control plane with its own data planes, as Global knows it; and what is known of it."""

from __future__ import annotations

from msgspec import field

from mesh.kinds.base import Kds, Kind, Model, StringInt, UInt32


class Zone(Model):
    """A zone. While it is disabled, nothing of it is offered to other zones."""

    enabled: bool | None = None

    @property
    def is_enabled(self) -> bool:
        return self.enabled is not False


class KdsServiceStats(Model):
    """Counters of one kind on one stream."""

    responses_sent: StringInt = ""
    responses_acknowledged: StringInt = ""
    responses_rejected: StringInt = ""


class KdsSubscriptionStatus(Model):
    last_update_time: str | None = None
    total: KdsServiceStats | None = None
    stat: dict[str, KdsServiceStats] | None = None


class KumaCpVersion(Model):
    version: str = ""
    git_tag: str = ""
    git_commit: str = ""
    build_date: str = ""
    kuma_cp_global_compatible: bool = False


class KdsVersion(Model):
    kuma_cp: KumaCpVersion | None = None


class KdsSubscription(Model):
    """One connection of a zone to one instance of Global."""

    id: str = ""
    global_instance_id: str = ""
    connect_time: str | None = None
    disconnect_time: str | None = None
    status: KdsSubscriptionStatus | None = None
    version: KdsVersion | None = None
    config: str = ""
    auth_token_provided: bool = False
    generation: UInt32 = 0
    zone_instance_id: str = ""


class HealthCheck(Model):
    time: str | None = None


class KdsStream(Model):
    global_instance_id: str = ""
    connect_time: str | None = None


class KdsStreams(Model):
    config_dump: KdsStream | None = None
    stats: KdsStream | None = None
    clusters: KdsStream | None = None
    global_to_zone: KdsStream | None = None
    zone_to_global: KdsStream | None = None


class EnvoyAdminStreams(Model):
    """Old form of `kdsStreams`."""

    config_dump_global_instance_id: str = ""
    stats_global_instance_id: str = ""
    clusters_global_instance_id: str = ""


class ZoneInsight(Model):
    """What Global knows of the connections of a zone."""

    subscriptions: tuple[KdsSubscription, ...] = ()
    envoy_admin_streams: EnvoyAdminStreams | None = None
    health_check: HealthCheck | None = None
    kds_streams: KdsStreams | None = field(default=None, name="kdsStreams")

    @property
    def is_online(self) -> bool:
        """Whether a subscription is open."""
        return any(s.connect_time and not s.disconnect_time for s in self.subscriptions)


ZONE = Kind(
    name="Zone",
    scope="global",
    path="zones",
    arg="zone",
    short="z",
    singular="Zone",
    plural="Zones",
    spec_type=Zone,
    wrapped=False,
    has_insight="ZoneInsight",
    kds=Kds.WRITABLE_ON_GLOBAL | Kds.WRITABLE_ON_ZONE,
)

ZONE_INSIGHT = Kind(
    name="ZoneInsight",
    scope="global",
    path="zone-insights",
    singular="Zone Insight",
    plural="Zone Insights",
    spec_type=ZoneInsight,
    wrapped=False,
    read_only=True,
    kds=Kds.WRITABLE_ON_GLOBAL | Kds.WRITABLE_ON_ZONE,
)
