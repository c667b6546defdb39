"""Facts: small frozen values that derivations are keyed by, and the derivations that find them.

A resource holds more than any one consumer of it needs (counters, times, status), so what is needed is
first extracted into a value. When an event changes the rest only, the value is equal, and the
wave of derivations stops here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mesh.naming import kri_of
from mesh.resource import PROTOCOL_TAG, SERVICE_TAG, ZONE_TAG, Resource
from xds.engine import Context, derivation

Pairs = tuple[tuple[str, str], ...]
"""A mapping of strings as a hashable value, sorted by key."""

# Unix sockets have paths of at most 107 bytes; Kuma cuts what comes before ".sock" here.
SOCKET_STEM_CHARS_MAX = 98
READINESS_SOCKET = "kuma-readiness-reporter.sock"
HTTP_PROTOCOLS = frozenset({"http", "http2", "grpc"})
KNOWN_PROTOCOLS = HTTP_PROTOCOLS | {"tcp", "kafka"}


def pairs(mapping: Mapping[str, str] | None) -> Pairs:
    """The sorted items of a mapping."""
    return tuple(sorted((mapping or {}).items()))


def is_http(protocol: str) -> bool:
    """Whether requests can be told apart on connections of this protocol."""
    return protocol in HTTP_PROTOCOLS


def protocol_of(text: str) -> str:
    """A protocol we know how to carry; what we do not know is bytes."""
    return text if text in KNOWN_PROTOCOLS else "tcp"


@dataclass(frozen=True, slots=True)
class Redirect:
    """Where a host redirects traffic to, as the runner on it tells; outbound_port 0: nowhere."""

    inbound_port: int
    outbound_port: int
    ipv6: bool


@dataclass(frozen=True, slots=True)
class Client:
    """What the node of a proxy says of itself that its configuration depends on.

    features: names of capabilities, e.g. "feature-reuse-port". admin_port 0: no admin listener.
    admin_socket: the Unix socket of Envoy's admin interface, if it is no port.
    metrics_certificate: files of the certificate and the key to serve metrics with.
    zone: that of the control plane it is connected to. redirect: how its host redirects traffic, if it says.
    """

    features: frozenset[str] = frozenset()
    admin_address: str = "127.0.0.1"
    admin_port: int = 0
    admin_socket: str = ""
    readiness_port: int = 0
    work_dir: str = "/tmp"
    metrics_socket: str = ""
    metrics_certificate: tuple[str, str] = ("", "")
    system_ca_path: str = ""
    ipv6: bool = True
    zone: str = ""
    shadow: bool = False
    redirect: Redirect | None = None

    @property
    def unified(self) -> bool:
        """Whether the proxy wants names in the unified scheme."""
        return "feature-unified-resource-naming" in self.features

    @property
    def dynamic_routes(self) -> bool:
        """Whether outbound routes are sent as resources of their own (RDS), see ADR 5."""
        return "feature-dynamic-routes" in self.features

    @property
    def embedded_dns(self) -> bool:
        """Whether the runner resolves names of the mesh, and asks for them."""
        return "feature-embedded-dns" in self.features

    @property
    def plain_metrics(self) -> bool:
        """Whether Envoy itself is scraped: the runner does not merge metrics of applications."""
        return "feature-envoy-metrics" in self.features

    @property
    def kafka_filter(self) -> bool:
        """Whether Envoy can read the protocol of Kafka: not every build has the filter."""
        return "feature-no-kafka-filter" not in self.features

    @property
    def readiness_address(self) -> tuple[str, int] | None:
        """Address and port (or socket and 0) where the runner tells whether it is ready; None: nowhere."""
        if "feature-readiness-unix-socket" in self.features:
            return f"{self.work_dir}/{READINESS_SOCKET}", 0
        return (self.admin_address, self.readiness_port) if self.readiness_port else None

    def socket(self, stem: str) -> str:
        """The path of a socket of the runner, cut as the runner cuts it to what the system takes."""
        return f"{self.work_dir}/{stem}"[:SOCKET_STEM_CHARS_MAX] + ".sock"

    @property
    def reuse_port(self) -> bool:
        return "feature-reuse-port" in self.features

    @property
    def strict_inbound_ports(self) -> bool:
        return "feature-strict-inbound-ports" in self.features


@dataclass(frozen=True, slots=True)
class MeshFacts:
    """What the configuration of every proxy depends on of its Mesh.

    ca: name of the backend that issues certificates, "" while mTLS is off. exclusive: services are resources
    only, not tags of inbounds. on_request: only proxies that say which ones they use are sent to them.
    """

    name: str
    ca: str = ""
    permissive: bool = False
    passthrough: bool = True
    exclusive: bool = False
    on_request: bool = False
    locality_aware: bool = False
    zone_egress: bool = False


@derivation
def mesh_facts(ctx: Context, name: str) -> MeshFacts | None:
    """The facts of a Mesh; None while it does not exist."""
    resource = ctx.get("Mesh", "", name)
    if resource is None:
        return None
    mesh = resource.spec
    backend = mesh.enabled_ca
    mode = mesh.mesh_services_mode
    return MeshFacts(
        name=name,
        ca=backend.name if backend is not None else "",
        permissive=backend is not None and backend.mode == "PERMISSIVE",
        passthrough=mesh.passthrough,
        exclusive=mode == "Exclusive",
        on_request=mode == "ReachableBackends",
        locality_aware=bool(mesh.routing and mesh.routing.locality_aware_load_balancing),
        zone_egress=mesh.zone_egress,
    )


# --- destinations --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a destination. section: its name, else its number."""

    number: int
    section: str
    protocol: str
    target: int | str


@dataclass(frozen=True, slots=True)
class Destination:
    """A MeshService, MeshExternalService or MeshMultiZoneService, as far as clients need it.

    name: the stored name; display_name, zone: at its origin. vips: where it is reached through
    transparent proxying. identities: (type, value) pairs that its proxies may present.
    local: its proxies are in this zone.
    """

    kind: str
    mesh: str
    name: str
    display_name: str
    zone: str
    namespace: str
    kri: str
    labels: Pairs
    ports: tuple[Port, ...]
    vips: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()
    identities: Pairs = ()
    tls_ready: bool = True

    def port(self, number: int | None) -> Port | None:
        """The port with that number; without a number the only or first one."""
        for port in self.ports:
            if number is None or number in (0, port.number):
                return port
        return None

    def section(self, section: str) -> Port | None:
        """The port that `sectionName` means."""
        return next((p for p in self.ports if section in (p.section, str(p.number))), None)


DESTINATION_KINDS = ("MeshService", "MeshExternalService", "MeshMultiZoneService")


@derivation
def destination(ctx: Context, kind: str, mesh: str, name: str) -> Destination | None:
    """The facts of one destination, by its stored name."""
    resource = ctx.get(kind, mesh, name)
    if resource is None:
        return None
    return Destination(
        kind=kind,
        mesh=mesh,
        name=name,
        display_name=resource.display_name,
        zone=resource.zone,
        namespace=resource.labels.get("k8s.kuma.io/namespace", ""),
        kri=kri_of(resource),
        labels=pairs(resource.labels),
        ports=tuple(_ports(resource)),
        vips=_vips(resource),
        hostnames=_hostnames(resource),
        identities=_identities(resource),
        tls_ready=_tls_ready(resource),
    )


def _ports(resource: Resource) -> Iterable[Port]:
    spec = resource.spec
    if resource.kind == "MeshExternalService":
        match = spec.match
        yield Port(match.port, str(match.port), protocol_of(match.protocol), match.port)
        return
    for port in spec.ports:
        target = port.target if resource.kind == "MeshService" else port.port
        yield Port(port.port, port.section, protocol_of(port.app_protocol), target)


def _vips(resource: Resource) -> tuple[str, ...]:
    status = resource.status
    if status is None:
        return ()
    if resource.kind == "MeshExternalService":
        return (status.vip.ip,) if status.vip.ip else ()
    return tuple(vip.ip for vip in status.vips if vip.ip)


def _hostnames(resource: Resource) -> tuple[str, ...]:
    addresses = resource.status.addresses if resource.status is not None else ()
    return tuple(address.hostname for address in addresses if address.hostname)


def _identities(resource: Resource) -> Pairs:
    found = getattr(resource.spec, "identities", None) or ()
    return tuple((identity.type, identity.value) for identity in found)


def _tls_ready(resource: Resource) -> bool:
    """Clients may use TLS towards it: not before all its proxies have certificates."""
    if resource.kind != "MeshService" or resource.status is None:
        return True
    return bool(resource.status.tls.status != "NotReady")


@derivation
def destinations(ctx: Context, mesh: str) -> tuple[tuple[str, str], ...]:
    """(kind, stored name) of each destination of a mesh, in order."""
    return tuple((kind, resource.name) for kind in DESTINATION_KINDS for resource in ctx.list(kind, mesh))


# --- inbounds ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InboundFacts:
    """One inbound of a proxy: where Envoy listens, where the application does, and (advertised) where others
    reach it."""

    address: str
    port: int
    service_address: str
    service_port: int
    protocol: str
    section: str
    named: bool
    tags: Pairs
    ready: bool
    advertised: str = ""

    @property
    def service(self) -> str:
        return dict(self.tags).get(SERVICE_TAG, "")


@dataclass(frozen=True, slots=True)
class ListenerFacts:
    """A listener that makes the proxy an ingress or egress. kind: "ZoneIngress" or "ZoneEgress"."""

    kind: str
    address: str
    port: int
    section: str
    ready: bool


@dataclass(frozen=True, slots=True)
class OutboundFacts:
    """A declared outbound: a local port, and the tags or the resource behind it."""

    address: str
    port: int
    tags: Pairs = ()
    kind: str = ""
    name: str = ""
    labels: Pairs = ()
    ref_port: int = 0


@dataclass(frozen=True, slots=True)
class TransparentProxy:
    """Ports to which the host redirects all traffic of the application; outbound_port 0: it does not."""

    inbound_port: int
    outbound_port: int
    ipv6: bool
    direct_access: tuple[str, ...] = ()
    reachable: tuple[tuple[str, str, Pairs, int], ...] | None = None
    reachable_services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probes:
    """A port for probes that cannot do mTLS. endpoints: (path here, port of the application, path there)."""

    port: int
    endpoints: tuple[tuple[str, int, str], ...]


@dataclass(frozen=True, slots=True)
class DataplaneFacts:
    """What the configuration of a proxy depends on of its Dataplane."""

    mesh: str
    name: str
    kri: str
    zone: str
    address: str
    labels: Pairs
    inbounds: tuple[InboundFacts, ...]
    outbounds: tuple[OutboundFacts, ...]
    redirection: TransparentProxy | None
    listeners: tuple[ListenerFacts, ...] = ()
    gateway: str = ""
    gateway_tags: Pairs = ()
    admin_port: int = 0
    probes: Probes | None = None

    @property
    def transparent(self) -> TransparentProxy | None:
        """How traffic is redirected to the proxy; None when it is not."""
        return self.redirection if self.redirection is not None and self.redirection.outbound_port else None

    def redirected(self, told: Redirect | None) -> DataplaneFacts:
        """The facts of a proxy whose runner told of the host how it redirects: it knows better."""
        if told is None:
            return self
        known = self.redirection or TransparentProxy(0, 0, True)
        return replace(
            self,
            redirection=replace(
                known, inbound_port=told.inbound_port, outbound_port=told.outbound_port, ipv6=told.ipv6
            ),
        )

    @property
    def service(self) -> str:
        """The service that the proxy speaks for as a client: that of its first inbound."""
        if self.gateway_tags:
            return dict(self.gateway_tags).get(SERVICE_TAG, "")
        return self.inbounds[0].service if self.inbounds else ""

    @property
    def services(self) -> tuple[str, ...]:
        """All its services, each once, sorted."""
        gateway = [dict(self.gateway_tags).get(SERVICE_TAG, "")]
        found = {*gateway, *(inbound.service for inbound in self.inbounds)}
        return tuple(sorted(found - {""}))

    @property
    def tags(self) -> Pairs:
        """All its tags, sorted; one key may have several values."""
        return tuple(
            sorted({pair for found in self.inbounds for pair in found.tags} | set(self.gateway_tags))
        )


@derivation
def dataplane_facts(ctx: Context, mesh: str, name: str) -> DataplaneFacts | None:
    """The facts of a Dataplane; None while it does not exist."""
    resource = ctx.get("Dataplane", mesh, name)
    if resource is None or resource.spec.networking is None:
        return None
    networking = resource.spec.networking
    gateway = networking.gateway
    return DataplaneFacts(
        mesh=mesh,
        name=name,
        kri=kri_of(resource),
        zone=_zone(resource),
        address=networking.address,
        labels=pairs(resource.labels),
        inbounds=tuple(_inbound(inbound, networking) for inbound in networking.inbound),
        outbounds=tuple(_outbound(outbound) for outbound in networking.outbound),
        redirection=_transparent(networking.transparent_proxying),
        listeners=tuple(_listener(listener, networking.address) for listener in networking.listeners),
        gateway="" if gateway is None else (gateway.type or "DELEGATED"),
        gateway_tags=() if gateway is None else pairs(gateway.tags),
        admin_port=(networking.admin.port or 0) if networking.admin else 0,
        probes=_probes(resource.spec.probes),
    )


def _probes(found: Any) -> Probes | None:
    if found is None:
        return None
    paths = tuple((each.path, each.inbound_port, each.inbound_path) for each in found.endpoints)
    return Probes(found.port, paths)


def _zone(resource: Resource) -> str:
    for tags in resource.spec.tag_sets:
        if tags.get(ZONE_TAG):
            return str(tags[ZONE_TAG])
    return resource.zone


def _inbound(inbound: Any, networking: Any) -> InboundFacts:
    tags = inbound.tags or {}
    return InboundFacts(
        address=inbound.address or networking.address,
        port=inbound.port,
        service_address=inbound.service_address or "127.0.0.1",
        service_port=inbound.service_port or inbound.port,
        protocol=protocol_of(inbound.protocol or tags.get(PROTOCOL_TAG, "tcp")),
        section=inbound.section,
        named=bool(inbound.name),
        tags=pairs(tags),
        ready=inbound.is_ready,
        advertised=networking.advertised_address or inbound.address or networking.address,
    )


def _listener(listener: Any, address: str) -> ListenerFacts:
    return ListenerFacts(
        kind=listener.type or "",
        address=listener.address or address,
        port=listener.port,
        section=listener.name or str(listener.port),
        ready=listener.state in (None, "Ready"),
    )


def _outbound(outbound: Any) -> OutboundFacts:
    address = outbound.address or "127.0.0.1"
    ref = outbound.backend_ref
    if ref is None:
        return OutboundFacts(address, outbound.port, tags=pairs(outbound.tags))
    return OutboundFacts(
        address, outbound.port, kind=ref.kind, name=ref.name, labels=pairs(ref.labels), ref_port=ref.port
    )


def _transparent(proxying: Any) -> TransparentProxy | None:
    if proxying is None:
        return None
    refs = proxying.reachable_backends
    reachable = None
    if refs is not None:
        reachable = tuple((ref.kind, ref.name, pairs(ref.labels), ref.port or 0) for ref in refs.refs)
    return TransparentProxy(
        inbound_port=proxying.redirect_port_inbound,
        outbound_port=proxying.redirect_port_outbound,
        ipv6=proxying.ip_family_mode != "IPv4",
        direct_access=tuple(proxying.direct_access_services),
        reachable=reachable,
        reachable_services=tuple(proxying.reachable_services),
    )
