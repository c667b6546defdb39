"""Dataplane: one proxy, where it listens, what it serves and what it wants to reach."""

from __future__ import annotations

from typing import Any, Literal

from mesh.kinds.base import Duration, Kds, Kind, Labels, Model, Tags, UInt32
from mesh.kinds.checks.dataplane import validate
from mesh.kinds.common import EnvoyAdmin
from mesh.resource import SERVICE_TAG

InboundState = Literal["Ready", "NotReady", "Ignored"]


class Tcp(Model):
    """A probe that connects and nothing more."""


class ServiceProbe(Model):
    """How Envoy probes the application behind an inbound."""

    interval: Duration | None = None
    timeout: Duration | None = None
    unhealthy_threshold: UInt32 | None = None
    healthy_threshold: UInt32 | None = None
    tcp: Tcp | None = None


class Health(Model):
    """Old form of the state of an inbound."""

    ready: bool = False


class Inbound(Model):
    """A port on which the proxy receives traffic for the application."""

    port: UInt32 = 0
    service_port: UInt32 = 0
    service_address: str = ""
    address: str = ""
    tags: Tags | None = None
    health: Health | None = None
    service_probe: ServiceProbe | None = None
    state: InboundState = "Ready"
    name: str = ""
    protocol: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether traffic may be sent here; the old `health` counts while `state` says nothing else."""
        return self.state == "Ready" and (self.health is None or self.health.ready)

    @property
    def service(self) -> str:
        return (self.tags or {}).get(SERVICE_TAG, "")

    @property
    def section(self) -> str:
        """What `sectionName` refers to: the name, or else the port."""
        return self.name or str(self.port)


class BackendRef(Model):
    kind: str = ""
    name: str = ""
    port: UInt32 = 0
    labels: Labels | None = None


class Outbound(Model):
    """A local port that leads to a service, for proxies without transparent proxying."""

    address: str = ""
    port: UInt32 = 0
    tags: Tags | None = None
    backend_ref: BackendRef | None = None

    @property
    def service(self) -> str:
        return (self.tags or {}).get(SERVICE_TAG, "")


class Gateway(Model):
    """Makes the proxy the gateway of the mesh: `DELEGATED` to another product, or `BUILTIN`."""

    tags: Tags | None = None
    type: Literal["DELEGATED", "BUILTIN"] = "DELEGATED"

    @property
    def is_builtin(self) -> bool:
        return self.type == "BUILTIN"


class ReachableRef(Model):
    kind: str = ""
    name: str = ""
    namespace: str = ""
    port: UInt32 | None = None
    labels: Labels | None = None


class ReachableBackends(Model):
    refs: tuple[ReachableRef, ...] = ()


class TransparentProxying(Model):
    redirect_port_inbound: UInt32 = 0
    redirect_port_outbound: UInt32 = 0
    direct_access_services: tuple[str, ...] = ()
    reachable_services: tuple[str, ...] = ()
    ip_family_mode: Literal["UnSpecified", "DualStack", "IPv4", "IPv6"] = "UnSpecified"
    reachable_backends: ReachableBackends | None = None


class Listener(Model):
    """Makes the proxy a zone proxy of its mesh: an ingress or an egress at this address."""

    type: Literal["ZoneIngress", "ZoneEgress"] | None = None
    address: str = ""
    port: UInt32 = 0
    name: str = ""
    state: InboundState = "Ready"


class Networking(Model):
    address: str = ""
    advertised_address: str = ""
    gateway: Gateway | None = None
    inbound: tuple[Inbound, ...] = ()
    outbound: tuple[Outbound, ...] = ()
    transparent_proxying: TransparentProxying | None = None
    admin: EnvoyAdmin | None = None
    listeners: tuple[Listener, ...] = ()


class MetricsBackend(Model):
    name: str = ""
    type: str = ""
    conf: dict[str, Any] | None = None


class ProbeEndpoint(Model):
    inbound_port: UInt32 = 0
    inbound_path: str = ""
    path: str = ""


class Probes(Model):
    port: UInt32 = 0
    endpoints: tuple[ProbeEndpoint, ...] = ()


class Dataplane(Model):
    """One proxy of a mesh."""

    networking: Networking | None = None
    metrics: MetricsBackend | None = None
    probes: Probes | None = None

    @property
    def is_builtin_gateway(self) -> bool:
        gateway = self.networking.gateway if self.networking else None
        return gateway is not None and gateway.is_builtin

    @property
    def is_delegated_gateway(self) -> bool:
        gateway = self.networking.gateway if self.networking else None
        return gateway is not None and not gateway.is_builtin

    @property
    def tag_sets(self) -> tuple[Tags, ...]:
        """The tags of the gateway, or those of each inbound that is not ignored."""
        networking = self.networking
        if networking is None:
            return ()
        if networking.gateway is not None:
            return (networking.gateway.tags or {},)
        return tuple(inbound.tags or {} for inbound in networking.inbound if inbound.state != "Ignored")

    @property
    def services(self) -> tuple[str, ...]:
        """Names of the services it is part of, sorted, each once."""
        return tuple(sorted({tags[SERVICE_TAG] for tags in self.tag_sets if tags.get(SERVICE_TAG)}))


DATAPLANE = Kind(
    name="Dataplane",
    scope="mesh",
    path="dataplanes",
    arg="dataplane",
    short="dp",
    singular="Dataplane",
    plural="Dataplanes",
    spec_type=Dataplane,
    wrapped=False,
    kds=Kds.ZONE_TO_GLOBAL,
    has_insight="DataplaneInsight",
    validate=validate,
)
