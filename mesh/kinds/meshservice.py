"""MeshService and MeshMultiZoneService: destinations inside the mesh."""

from __future__ import annotations

from typing import Literal

import msgspec

from mesh.kinds.base import Int32, IntOrString, Kds, Kind, Model, Tags, default
from mesh.kinds.checks.meshservice import validate, validate_multi_zone, warn
from mesh.kinds.common import Address, Condition, HostnameGeneratorStatus, LabelSelector, Vip


class DataplaneRef(Model):
    name: str | None = None


class Selector(Model):
    """The proxies behind the service: by name, by labels, or by the tags of their inbounds."""

    dataplane_tags: Tags | None = None
    dataplane_ref: DataplaneRef | None = None
    dataplane_labels: LabelSelector | None = None


class Port(Model):
    """A port of the service. `targetPort` is a port or the name of an inbound; absent, it is `port`."""

    port: Int32
    name: str | None = None
    target_port: IntOrString | None = None
    app_protocol: str = default("tcp")

    @property
    def section(self) -> str:
        """What `sectionName` refers to: the name, or else the port."""
        return self.name or str(self.port)

    @property
    def target(self) -> IntOrString:
        return self.port if self.target_port is None else self.target_port


class Identity(Model):
    type: Literal["ServiceTag", "SpiffeID"]
    value: str


class MeshService(Model):
    """A destination: ports served by the proxies that it selects."""

    state: Literal["Available", "Unavailable"] = default("Unavailable")
    selector: Selector = msgspec.field(default_factory=Selector)
    ports: tuple[Port, ...] = ()
    identities: tuple[Identity, ...] | None = None


class Tls(Model):
    status: Literal["Ready", "NotReady"] | None = None


class DataplaneProxies(Model):
    connected: int = 0
    healthy: int = 0
    total: int = 0


class MeshServiceStatus(Model):
    """Names and addresses under which it is reached, and how its proxies are."""

    addresses: tuple[Address, ...] = ()
    vips: tuple[Vip, ...] = ()
    tls: Tls = msgspec.field(default_factory=Tls)
    hostname_generators: tuple[HostnameGeneratorStatus, ...] = ()
    dataplane_proxies: DataplaneProxies = msgspec.field(default_factory=DataplaneProxies)


class MultiZonePort(Model):
    port: Int32
    name: str | None = None
    app_protocol: str = default("tcp")

    @property
    def section(self) -> str:
        return self.name or str(self.port)


class MeshServiceSelector(Model):
    mesh_service: LabelSelector


class MeshMultiZoneService(Model):
    """A destination made of MeshServices of any zone that carry the selector's labels."""

    selector: MeshServiceSelector
    ports: tuple[MultiZonePort, ...] = ()


class MatchedMeshService(Model):
    name: str
    namespace: str
    zone: str
    mesh: str


class MeshMultiZoneServiceStatus(Model):
    mesh_services: tuple[MatchedMeshService, ...] = ()
    addresses: tuple[Address, ...] = ()
    vips: tuple[Vip, ...] = ()
    hostname_generators: tuple[HostnameGeneratorStatus, ...] = ()
    conditions: tuple[Condition, ...] = ()


MESH_SERVICE = Kind(
    name="MeshService",
    scope="mesh",
    path="meshservices",
    arg="meshservice",
    short="msvc",
    singular="Mesh Service",
    plural="Mesh Services",
    spec_type=MeshService,
    status_type=MeshServiceStatus,
    is_destination=True,
    kds=Kds.ZONE_TO_GLOBAL | Kds.TO_OTHER_ZONES,
    validate=validate,
    warn=warn,
)

MESH_MULTI_ZONE_SERVICE = Kind(
    name="MeshMultiZoneService",
    scope="mesh",
    path="meshmultizoneservices",
    arg="meshmultizoneservice",
    short="mzsvc",
    singular="Mesh Multi Zone Service",
    plural="Mesh Multi Zone Services",
    spec_type=MeshMultiZoneService,
    status_type=MeshMultiZoneServiceStatus,
    is_destination=True,
    kds=Kds.GLOBAL_TO_ZONES,
    validate=validate_multi_zone,
    warn=warn,
)
