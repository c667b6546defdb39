"""ZoneIngress and ZoneEgress: the proxies through which zones reach each other and the outside."""

from __future__ import annotations

from mesh.kinds.base import Kds, Kind, Model, Tags, UInt32
from mesh.kinds.checks.zoneproxy import validate_egress, validate_ingress
from mesh.kinds.common import EnvoyAdmin
from mesh.resource import SERVICE_TAG


class IngressNetworking(Model):
    """Where the ingress listens, and where other zones reach it."""

    address: str = ""
    advertised_address: str = ""
    port: UInt32 = 0
    advertised_port: UInt32 = 0
    admin: EnvoyAdmin | None = None


class AvailableService(Model):
    """A set of tags that some proxies of the zone carry, and how many they are."""

    tags: Tags | None = None
    instances: UInt32 = 0
    mesh: str = ""
    external_service: bool = False

    @property
    def service(self) -> str:
        return (self.tags or {}).get(SERVICE_TAG, "")


class ZoneIngress(Model):
    """Lets the other zones in. An empty `zone` means the local one."""

    zone: str = ""
    networking: IngressNetworking | None = None
    available_services: tuple[AvailableService, ...] = ()

    @property
    def is_advertised(self) -> bool:
        """Whether other zones can reach it: both public address and port are known."""
        networking = self.networking
        return networking is not None and bool(networking.advertised_address and networking.advertised_port)


class EgressNetworking(Model):
    address: str = ""
    port: UInt32 = 0
    admin: EnvoyAdmin | None = None


class ZoneEgress(Model):
    """Lets traffic for other zones and external services out. An empty `zone` means the local one."""

    zone: str = ""
    networking: EgressNetworking | None = None


ZONE_INGRESS = Kind(
    name="ZoneIngress",
    scope="global",
    path="zoneingresses",
    path_aliases=("zone-ingresses",),
    arg="zoneingress",
    arg_aliases=("zone-ingress",),
    short="zi",
    singular="Zone Ingress",
    plural="Zone Ingresses",
    spec_type=ZoneIngress,
    wrapped=False,
    has_insight="ZoneIngressInsight",
    kds=Kds.ZONE_TO_GLOBAL | Kds.TO_OTHER_ZONES,
    validate=validate_ingress,
)

ZONE_EGRESS = Kind(
    name="ZoneEgress",
    scope="global",
    path="zoneegresses",
    path_aliases=("zone-egresses",),
    arg="zoneegress",
    arg_aliases=("zone-egress",),
    short="ze",
    singular="Zone Egress",
    plural="Zone Egresses",
    spec_type=ZoneEgress,
    wrapped=False,
    has_insight="ZoneEgressInsight",
    kds=Kds.ZONE_TO_GLOBAL,
    validate=validate_egress,
)
