"""Backends: the clusters that an outbound and its routes lead to.

There are two ways to name a destination: a resource (MeshService and its siblings), or the tags of
inbounds (`kuma.io/service` and more). A route may mix them. `Backends` collects what is named, so
that whoever emits the listener also emits what it points to (make before break needs both).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from mesh import naming
from mesh.policy.destination import resolve
from mesh.policy.meta import Meta, with_section
from mesh.resource import SERVICE_TAG
from xds.config import assignments, confs, tls
from xds.config.answering import answering
from xds.config.confs import KindConfs, Names
from xds.config.external import EGRESS_SERVICE, External, egress_ids, external_cluster
from xds.config.facts import Destination, Pairs, Port, dataplane_facts, destination, pairs
from xds.config.localities import Place
from xds.config.names import tagged_cluster_name
from xds.config.outbound import Backend, Source, backend_cluster
from xds.config.policies import BACKEND_KINDS
from xds.config.policies.healthcheck import sends_requests
from xds.config.remote import detour, far_protocols
from xds.engine import Context, Query, derivation
from xds.types import CLUSTER, ENDPOINT

# Gateways face the world: what waits for a slow peer is bounded per connection.
GATEWAY_BUFFER_BYTES = 32_768


class Item(NamedTuple):
    """A resource of a proxy: its type, its name, and the derivation that makes it."""

    type_url: str
    name: str
    query: Query


@dataclass(frozen=True, slots=True)
class Profile:
    """What the outbounds of a client depend on.

    matched: policies that select it. proxy: confs of the client as a whole that listeners carry.
    source: how logs name the client, only set when some policy logs. tls_conf: its MeshTLS.
    told_tags: tags that requests carry. tags: of the client, only set when some policy balances by
    them, or probes with them. gateway: tags of a builtin gateway, whose clusters are its own.
    zone_first: endpoints of the own zone come first even without a policy. kafka: Envoy can read it.
    """

    mesh: str
    zone: str
    matched: tuple[tuple[str, Names], ...] = ()
    security: tls.Security | None = None
    bind: bool = True
    unified: bool = False
    dynamic_routes: bool = False
    proxy: KindConfs = ()
    source: Source | None = None
    tls_conf: KindConfs = ()
    told_tags: Pairs = ()
    tags: Pairs = ()
    zone_first: bool = False
    gateway: Pairs = ()
    ipv6: bool = True
    system_ca: str = ""
    kafka: bool = False


def cluster_name(facts: Destination, port: Port, profile: Profile) -> str:
    """The cluster of one port of a destination."""
    if profile.unified:
        return with_section(facts.kri, port.section)
    short = naming.short_name(facts.kind)
    parts = (facts.mesh, facts.display_name, facts.namespace, facts.zone, short, str(port.number))
    name = "_".join(parts)
    return tagged_cluster_name({SERVICE_TAG: name}, dict(profile.gateway)) if profile.gateway else name


class Backends:
    """Resolves references to clusters, and keeps the items of what was referred to."""

    def __init__(self, ctx: Context, profile: Profile, *, legacy: bool) -> None:
        self._ctx = ctx
        self._profile = profile
        self._legacy = legacy
        self._items: dict[str, tuple[Item, ...]] = {}

    def items(self) -> Iterator[Item]:
        """Clusters and assignments of all that was named, in order of the naming."""
        for items in self._items.values():
            yield from items

    def add_port(self, facts: Destination, port: Port) -> str:
        """The cluster of one port of a destination."""
        name = cluster_name(facts, port, self._profile)
        if name not in self._items:
            self._items[name] = backend_items(self._ctx, self._profile, facts.kind, facts.name, port.number)
        return name

    def add_service(self, tags: Pairs) -> str:
        """The cluster of the inbounds with these tags."""
        named = dict(tags)
        name = tagged_cluster_name(named, dict(self._profile.gateway))
        if name not in self._items:
            self._items[name] = service_backend_items(self._ctx, self._profile, name, tags)
        return name

    def add_ref(self, kri: str, ref: Mapping[str, Any]) -> str:
        """The cluster that a backendRef in the route policy `kri` means; "" when it leads nowhere."""
        if self._by_tags(ref):
            return self.add_service(pairs({SERVICE_TAG: ref.get("name") or "", **(ref.get("tags") or {})}))
        section = ref.get("sectionName") or ""
        for target in resolve(self._ctx, _policy_meta(kri, self._profile.mesh), {**ref, "sectionName": ""}):
            facts = destination(self._ctx, target.meta.kind, self._profile.mesh, target.meta.name)
            port = None
            if facts is not None:
                port = facts.section(section) if section else facts.port(ref.get("port"))
            if facts is not None and port is not None:
                return self.add_port(facts, port)
        return ""

    def _by_tags(self, ref: Mapping[str, Any]) -> bool:
        if ref["kind"] == "MeshServiceSubset":
            return True
        return self._legacy and ref["kind"] == "MeshService" and not ref.get("port") and not ref.get("labels")


def _policy_meta(kri: str, mesh: str) -> Meta:
    """Who wrote a route, as far as its references depend on it: names mean resources of its origin."""
    if not kri:
        return Meta("MeshHTTPRoute", mesh, "", {})
    parsed = naming.parse_kri(kri)
    labels = {"kuma.io/display-name": parsed.name}
    if parsed.zone:
        labels |= {"kuma.io/zone": parsed.zone, "kuma.io/origin": "zone"}
    if parsed.namespace:
        labels["k8s.kuma.io/namespace"] = parsed.namespace
    return Meta("MeshHTTPRoute", mesh, parsed.name, labels)


# --- destinations that are resources ---------------------------------------------------------------


@derivation
def backend_items(ctx: Context, profile: Profile, kind: str, name: str, port_number: int) -> tuple[Item, ...]:
    """The cluster and the assignment of one port of a destination."""
    facts = destination(ctx, kind, profile.mesh, name)
    port = facts.port(port_number) if facts is not None else None
    if facts is None or port is None:
        return ()
    policies = confs.to_confs(ctx, profile.mesh, profile.matched, facts.kri, port.section)
    external = kind == "MeshExternalService"
    ids = _egress_ids(ctx, profile) if external else None
    if external and ids is None:
        return _direct_items(profile, facts, port, policies)
    backend = Backend(
        name=cluster_name(facts, port, profile),
        protocol=port.protocol,
        tls=_upstream_tls(ctx, profile, facts, port, ids or ()),
        http2=not (external or profile.gateway) or port.protocol in ("http2", "grpc"),
        buffer_limit_bytes=GATEWAY_BUFFER_BYTES if profile.gateway else 0,
        confs=confs.only(policies, BACKEND_KINDS),
        tls_conf=profile.tls_conf,
        told_tags=_told_tags(profile, policies, port.protocol),
    )
    place = place_of(profile, policies)
    query = assignments.assignment.query(backend.name, kind, profile.mesh, name, port_number, place)
    return (
        Item(CLUSTER, backend.name, backend_cluster.query(backend)),
        Item(ENDPOINT, backend.name, query),
    )


def _upstream_tls(
    ctx: Context, profile: Profile, facts: Destination, port: Port, egress_ids: tuple[str, ...]
) -> tls.UpstreamTls | None:
    """TLS towards a port of a destination; None without certificates, or while its proxies have none."""
    if profile.security is None:
        return None
    target = answering(ctx, facts.kind, facts.mesh, facts.name, profile.zone)
    return tls.upstream_tls(profile.security, target or facts, port, egress_ids)


def _told_tags(profile: Profile, policies: KindConfs, protocol: str) -> Pairs:
    """The tags that health checks of a destination carry."""
    return profile.tags if sends_requests(policies, protocol) else ()


def _egress_ids(ctx: Context, profile: Profile) -> tuple[str, ...] | None:
    """Who answers for external services: the egresses that know who asks; None when there are none."""
    if profile.security is None:
        return None
    if profile.security.spiffe:
        return egress_ids(ctx, profile.mesh, profile.zone)
    if detour(ctx, profile.mesh, profile.zone):
        return (f"spiffe://{profile.mesh}/{EGRESS_SERVICE}",)
    return None


def _direct_items(profile: Profile, facts: Destination, port: Port, policies: KindConfs) -> tuple[Item, ...]:
    """Without identities there is no egress to trust: the sidecar itself goes out."""
    external = External(
        name=cluster_name(facts, port, profile),
        mesh=profile.mesh,
        service=facts.name,
        protocol=port.protocol,
        ipv6=profile.ipv6,
        system_ca=profile.system_ca,
        confs=confs.only(policies, BACKEND_KINDS),
        told_tags=_told_tags(profile, policies, port.protocol),
    )
    return (Item(CLUSTER, external.name, external_cluster.query(external)),)


# --- services known by tags ------------------------------------------------------------------------


@derivation
def service_backend_items(ctx: Context, profile: Profile, name: str, tags: Pairs) -> tuple[Item, ...]:
    """The cluster and the assignment of the inbounds with some tags."""
    named = dict(tags)
    service = named.get(SERVICE_TAG, "")
    policies = confs.service_confs(ctx, profile.mesh, profile.matched, service)
    upstream = None
    if profile.security is not None:
        sni = naming.sni_of_tags(named, profile.mesh)
        upstream = tls.service_tls(profile.security, profile.mesh, service, sni)
    protocol = service_protocol(ctx, profile.mesh, service)
    backend = Backend(
        name=name,
        protocol=protocol,
        tls=upstream,
        confs=confs.only(policies, BACKEND_KINDS),
        tls_conf=profile.tls_conf,
        told_tags=_told_tags(profile, policies, protocol),
    )
    return (
        Item(CLUSTER, name, backend_cluster.query(backend)),
        Item(
            ENDPOINT,
            name,
            assignments.service_assignment.query(name, profile.mesh, tags, place_of(profile, policies)),
        ),
    )


def place_of(profile: Profile, policies: KindConfs) -> Place:
    """Where the client is, as far as the endpoints of a destination depend on it."""
    conf = confs.raw_conf("MeshLoadBalancingStrategy", policies)
    awareness = (conf or {}).get("localityAwareness")
    crossing = profile.security is not None
    if awareness is None:
        return Place(profile.zone, zone_first=profile.zone_first or conf is not None, crossing=crossing)
    near = (awareness.get("localZone") or {}).get("affinityTags") or ()
    wanted = {tag["key"] for tag in near}
    tags = tuple(pair for pair in profile.tags if pair[0] in wanted)
    return Place(profile.zone, confs.text_of(awareness), profile.zone_first, crossing, tags)


@derivation
def service_protocol(ctx: Context, mesh: str, service: str) -> str:
    """The protocol that all inbounds of a service speak, here and in other zones; bytes for one nobody has."""
    stacks = [_STACKS[protocol] for protocol in _protocols(ctx, mesh, service)]
    return (
        next((found for found in stacks[0] if all(found in stack for stack in stacks)), "tcp")
        if stacks
        else "tcp"
    )


# What a client may take a protocol for, when others of the same service do not speak it.
_STACKS: Mapping[str, tuple[str, ...]] = {
    "grpc": ("grpc", "http2", "http", "tcp"),
    "http2": ("http2", "http", "tcp"),
    "http": ("http", "tcp"),
    "kafka": ("kafka", "tcp"),
    "tcp": ("tcp",),
}


def _protocols(ctx: Context, mesh: str, service: str) -> Iterator[str]:
    for key in ctx.lookup("dataplane_by_service", mesh, service):
        yield from _protocols_at(ctx, mesh, key.name, service)
    yield from far_protocols(ctx, mesh, service)


@derivation
def _protocols_at(ctx: Context, mesh: str, name: str, service: str) -> tuple[str, ...]:
    """The protocols of a service at one Dataplane; it stops the wave of whatever else changes in it."""
    facts = dataplane_facts(ctx, mesh, name)
    inbounds = facts.inbounds if facts is not None else ()
    return tuple({inbound.protocol: None for inbound in inbounds if inbound.service == service})
