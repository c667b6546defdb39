"""The plan of a sidecar: which resources it has, and which derivation makes each.

The plan names resources, it does not contain them. So an endpoint that changes does not touch the
plan of a thousand clients: it touches one assignment, which a thousand clients have in their plans.

What proxies share is planned once per profile (a group); the rest is the proxy's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from mesh import naming
from mesh.policy.destination import resolve
from mesh.policy.meta import Meta
from mesh.resource import WORKLOAD
from xds.config import admin, confs, dynamic, inbound, metrics, probes, telemetry, tls, transparent
from xds.config.admintls import admin_tls
from xds.config.backends import Item, Profile
from xds.config.confs import KindConfs, Matched
from xds.config.crossmesh import MESH_TAG, door_destinations, door_items
from xds.config.destinations import (
    all_destinations,
    outbound_items,
    service_destinations,
    service_items,
    some_destinations,
)
from xds.config.direct import direct_items
from xds.config.facts import (
    Client,
    DataplaneFacts,
    InboundFacts,
    MeshFacts,
    OutboundFacts,
    Pairs,
    TransparentProxy,
    dataplane_facts,
    destination,
    mesh_facts,
)
from xds.config.gateway import gateway_items
from xds.config.identity import Identity
from xds.config.outbound import Source
from xds.config.patched import patch_of, patched_group, patched_items
from xds.config.policies import PASSTHROUGH_KINDS, meshtls, passthrough
from xds.config.spiffe import Spiffe, spiffe_of, spiffe_security, trust_bundle, trusts
from xds.config.zoneproxy import zone_proxy_items
from xds.engine import Context, Query, derivation
from xds.types import CLUSTER, LISTENER, SECRET

PROXY_KINDS_OF_LISTENERS = frozenset({"MeshTrace"})
LOGGING_KINDS = frozenset({"MeshAccessLog", "MeshTrace"})
# Kinds whose effect on outbounds depends on the tags of the client.
TAGGED_KINDS = frozenset({"MeshLoadBalancingStrategy", "MeshHealthCheck"})


class Plan(NamedTuple):
    """items: the proxy's own resources. groups: derivations of resources that it shares."""

    items: tuple[Item, ...]
    groups: tuple[Query, ...]
    identities: tuple[Identity, ...] = ()


@derivation
def sidecar_plan(ctx: Context, mesh: str, name: str, client: Client) -> Plan | None:
    """The plan of a Dataplane's proxy; None while the Dataplane or its Mesh is not known."""
    found = dataplane_facts(ctx, mesh, name)
    settings = mesh_facts(ctx, mesh)
    matched = confs.matched_policies(ctx, mesh, name, client.shadow)
    if found is None or settings is None or matched is None:
        return None
    facts = found.redirected(client.redirect)
    spiffe = spiffe_of(ctx, mesh, name, client.zone)
    if spiffe is not None:
        domains = tuple(domain for domain, _ in trusts(ctx, mesh))
        security: tls.Security | None = spiffe_security(spiffe, domains)
    else:
        security = tls.mesh_security(settings, unified=client.unified)
    proxy = confs.single_confs(ctx, mesh, matched.to)
    clusters = telemetry.log_clusters(_logging(ctx, mesh, matched), unified=client.unified)
    source = source_of(facts, client, clusters) if logs(matched) else None
    permissive = _permissive(ctx, facts, security, matched)
    items = [
        *_inbounds(ctx, facts, client, security, matched, proxy, source),
        *_transparent(ctx, facts, settings, client, matched, proxy, source, permissive),
        *admin_items(ctx, facts.address, facts.admin_port or client.admin_port, client),
        *_telemetry(ctx, facts, client, security, proxy),
        *telemetry.log_items(clusters, ipv6=client.ipv6),
        *_zone_proxy(ctx, facts, client, security, matched, proxy, source),
    ]
    if spiffe is not None:
        items.append(Item(SECRET, naming.TRUST_BUNDLE_SECRET, trust_bundle.query(mesh)))
    profile = _profile(ctx, settings, facts, client, security, matched, proxy, source)
    if facts.gateway == "BUILTIN":
        of_listeners = confs.only(proxy, PROXY_KINDS_OF_LISTENERS)
        own = replace(profile, gateway=facts.tags)
        items.extend(gateway_items(ctx, facts, client, own, matched, of_listeners, source))
    groups = tuple(_outbounds(ctx, facts, settings, profile))
    if patch := patch_of(proxy):
        items = list(patched_items(items, patch))
        groups = tuple(patched_group.query(group, patch) for group in groups)
    return Plan(tuple(items), groups, _identities(facts, security, spiffe))


def _identities(
    facts: DataplaneFacts, security: tls.Security | None, spiffe: Spiffe | None
) -> tuple[Identity, ...]:
    if security is None:
        return ()
    identity = Identity(
        facts.mesh,
        facts.name,
        security.identity_secret,
        "" if spiffe is not None else security.ca_secret,
        facts.services,
        facts.tags,
        provider=spiffe.name if spiffe is not None else "",
        spiffe_id=spiffe.spiffe_id if spiffe is not None else "",
    )
    return (identity,)


def _zone_proxy(
    ctx: Context,
    facts: DataplaneFacts,
    client: Client,
    security: tls.Security | None,
    matched: Matched,
    proxy: KindConfs,
    source: Source | None,
) -> Iterator[Item]:
    of_listeners = confs.only(proxy, PROXY_KINDS_OF_LISTENERS)
    yield from zone_proxy_items(ctx, facts, client, security, matched, of_listeners, source)


def _profile(
    ctx: Context,
    settings: MeshFacts,
    facts: DataplaneFacts,
    client: Client,
    security: tls.Security | None,
    matched: Matched,
    proxy: KindConfs,
    source: Source | None,
) -> Profile:
    return Profile(
        mesh=facts.mesh,
        zone=facts.zone or client.zone,
        matched=matched.to,
        security=security,
        bind=facts.transparent is None,
        unified=client.unified,
        dynamic_routes=client.dynamic_routes,
        proxy=confs.only(proxy, PROXY_KINDS_OF_LISTENERS),
        source=source,
        tags=facts.tags if any(kind in TAGGED_KINDS for kind, _ in matched.to) else (),
        zone_first=settings.locality_aware,
        ipv6=client.ipv6,
        system_ca=client.system_ca_path,
        kafka=client.kafka_filter,
        tls_conf=confs.only(_first_inbound_confs(ctx, facts, matched), ("MeshTLS",)),
        told_tags=facts.tags if confs.faults_exist(ctx, facts.mesh) else (),
    )


def _first_inbound_confs(ctx: Context, facts: DataplaneFacts, matched: Matched) -> KindConfs:
    """What policies say of the first inbound, which speaks for the proxy as a client."""
    if not facts.inbounds:
        return ()
    first = facts.inbounds[0]
    return confs.inbound_confs(ctx, facts.mesh, matched.of_inbound(first.address, first.port))


def logs(matched: Matched) -> bool:
    """Whether some policy writes logs or spans, which name the proxy."""
    return any(kind in LOGGING_KINDS for kind, _ in matched.to)


def _logging(ctx: Context, mesh: str, matched: Matched) -> Iterator[KindConfs]:
    """Everything that says where log records go."""
    for _, policies in matched.inbound:
        yield confs.inbound_confs(ctx, mesh, policies)
        names = dict(policies).get("MeshAccessLog", ())
        yield confs.confs_by_caller(ctx, "MeshAccessLog", mesh, names)
    yield confs.all_to_confs(ctx, mesh, matched.to, "MeshAccessLog")


def source_of(facts: DataplaneFacts, client: Client, clusters: Pairs) -> Source:
    """How logs and spans name the proxy. clusters: of the collectors of log records."""
    workload = dict(facts.labels).get(WORKLOAD, "")
    return Source(
        facts.service,
        facts.mesh,
        facts.zone,
        facts.address,
        client.socket(f"kuma-al-{facts.name}-{facts.mesh}"),
        naming.kri("wl", facts.mesh, workload, zone=facts.zone) if workload else "",
        clusters,
        client.unified,
    )


# --- inbound -------------------------------------------------------------------------------------


def _inbounds(
    ctx: Context,
    facts: DataplaneFacts,
    client: Client,
    security: tls.Security | None,
    matched: Matched,
    proxy: KindConfs,
    source: Source | None,
) -> Iterator[Item]:
    clusters: dict[int, str] = {}
    for found in facts.inbounds:
        value = _inbound(ctx, facts, found, client, security, matched, proxy, source)
        yield Item(LISTENER, value.listener_name, inbound.inbound_listener.query(value))
        yield Item(CLUSTER, value.cluster_name, inbound.inbound_cluster.query(value))
        clusters[found.service_port] = value.cluster_name
    of_probes = probes.probing(facts, tuple(sorted(clusters.items())), reuse_port=client.reuse_port)
    if of_probes is not None:
        yield Item(LISTENER, probes.NAME, probes.probe_listener.query(of_probes))


def _inbound(
    ctx: Context,
    facts: DataplaneFacts,
    found: InboundFacts,
    client: Client,
    security: tls.Security | None,
    matched: Matched,
    proxy: KindConfs,
    source: Source | None,
) -> inbound.Inbound:
    policies = matched.of_inbound(found.address, found.port)
    return inbound.Inbound(
        facts=found,
        mesh=facts.mesh,
        unified=client.unified,
        transparent=facts.transparent is not None,
        reuse_port=client.reuse_port,
        security=security,
        confs=confs.inbound_confs(ctx, facts.mesh, policies),
        rules=confs.inbound_rules_by_client(ctx, facts.mesh, policies),
        proxy=confs.only(proxy, PROXY_KINDS_OF_LISTENERS),
        source=source,
        kafka=client.kafka_filter and found.protocol == "kafka",
    )


# --- outbound ------------------------------------------------------------------------------------


def _outbounds(ctx: Context, facts: DataplaneFacts, settings: MeshFacts, profile: Profile) -> Iterator[Query]:
    # Envoy refuses a second listener at an address; the first one wins, an inbound before all others.
    taken = {(found.address, found.port) for found in facts.inbounds}
    named: set[tuple[Any, ...]] = set()
    proxying = facts.transparent
    for found in facts.outbounds:
        if (found.address, found.port) in taken:
            continue
        query = _declared(ctx, facts, profile, found)
        if query is not None and profile.unified and query.derivation is outbound_items:
            # A name of the new scheme says where it leads, not from where, so there can be one such listener only.
            place = query.args[1:4]
            if place in named or proxying is not None:
                query = _declared(ctx, facts, replace(profile, unified=False), found)
            named.add(place)
        if query is not None:
            taken.add((found.address, found.port))
            yield query
    if proxying is None:
        return
    if proxying.direct_access:
        of_mesh = confs.only(confs.mesh_confs(ctx, facts.mesh, profile.matched), PASSTHROUGH_KINDS)
        source = profile.source if of_mesh else None
        yield direct_items.query(
            facts.mesh, facts.name, proxying.direct_access, profile.security, of_mesh, source
        )
    if not settings.exclusive:
        yield service_destinations.query(profile, proxying.reachable_services)
    if profile.security is not None and not profile.security.spiffe:
        yield door_destinations.query(profile)
    ipv6 = proxying.ipv6
    if proxying.reachable is None and not settings.on_request:
        yield all_destinations.query(profile, ipv6)
    elif proxying.reachable is not None:
        yield some_destinations.query(profile, tuple(_reachable(ctx, facts, proxying)), ipv6)


def _declared(ctx: Context, facts: DataplaneFacts, profile: Profile, found: OutboundFacts) -> Query | None:
    """The derivation behind a declared outbound; None when its destination does not exist."""
    if not found.kind and dict(found.tags).get(MESH_TAG, facts.mesh) != facts.mesh:
        return door_items.query(profile, found.tags, found.address, found.port)
    if not found.kind:
        return service_items.query(profile, found.tags, found.address, found.port)
    for kind, name in _targets(ctx, facts, found.kind, found.name, found.labels):
        target = destination(ctx, kind, facts.mesh, name)
        port = target.port(found.ref_port) if target is not None else None
        if port is not None:
            return outbound_items.query(profile, kind, name, port.number, found.address, found.port)
    return None


def _targets(
    ctx: Context, facts: DataplaneFacts, kind: str, name: str, labels: tuple[tuple[str, str], ...]
) -> list[tuple[str, str]]:
    """(kind, stored name) of what a reference in a Dataplane means."""
    if name and ctx.get(kind, facts.mesh, name) is not None:
        return [(kind, name)]
    ref = {"kind": kind, "name": name} | ({"labels": dict(labels)} if labels else {})
    meta = Meta("Dataplane", facts.mesh, facts.name, dict(facts.labels))
    return [(target.meta.kind, target.meta.name) for target in resolve(ctx, meta, ref)]


def _reachable(
    ctx: Context, facts: DataplaneFacts, proxying: TransparentProxy
) -> Iterator[tuple[str, str, int]]:
    for kind, name, labels, port in proxying.reachable or ():
        for target_kind, target in _targets(ctx, facts, kind, name, labels):
            yield target_kind, target, port


# --- transparent proxying and admin ----------------------------------------------------------------


def _transparent(
    ctx: Context,
    facts: DataplaneFacts,
    settings: MeshFacts,
    client: Client,
    matched: Matched,
    proxy: KindConfs,
    source: Source | None,
    permissive: bool,
) -> Iterator[Item]:
    proxying = facts.transparent
    if proxying is None:
        return
    strict = client.strict_inbound_ports and not permissive
    ports = tuple(sorted({found.port for found in facts.inbounds})) if strict else None
    allowed = passthrough.allowed_of(proxy, settings.passthrough)
    of_mesh = confs.only(confs.mesh_confs(ctx, facts.mesh, matched.to), PASSTHROUGH_KINDS)
    for ip_version in (4, 6) if proxying.ipv6 else (4,):
        value = transparent.Passthrough(
            "outbound",
            ip_version,
            proxying.outbound_port,
            client.unified,
            client.reuse_port,
            matches=allowed.matches,
            confs=of_mesh,
            source=source if of_mesh else None,
        )
        yield from _passthrough(value, reachable=allowed.everything)
        if proxying.inbound_port:
            value = transparent.Passthrough(
                "inbound", ip_version, proxying.inbound_port, client.unified, client.reuse_port, ports
            )
            yield from _passthrough(value)
    for name, http2 in allowed.clusters():
        yield Item(CLUSTER, name, transparent.matched_cluster.query(name, http2))
    if client.strict_inbound_ports and proxying.inbound_port:
        name = naming.NO_DESTINATION_INBOUND
        yield Item(CLUSTER, name, transparent.no_destination_cluster.query())


def _permissive(ctx: Context, facts: DataplaneFacts, security: tls.Security | None, matched: Matched) -> bool:
    """Whether some inbound takes plain traffic next to mTLS."""
    if security is None:
        return False
    by_port = (matched.of_inbound(found.address, found.port) for found in facts.inbounds)
    return any(
        meshtls.permissive(confs.inbound_confs(ctx, facts.mesh, policies), security.permissive)
        for policies in by_port
    )


def _passthrough(value: transparent.Passthrough, *, reachable: bool = True) -> Iterator[Item]:
    """The listener and, unless nothing is to be reached, the cluster to which it leads."""
    yield Item(LISTENER, value.name, transparent.passthrough_listener.query(value))
    if reachable:
        query = transparent.passthrough_cluster.query(value.direction, value.ip_version, value.unified)
        yield Item(CLUSTER, value.name, query)


def admin_items(ctx: Context, address: str, port: int, client: Client) -> Iterator[Item]:
    """Envoy's own interfaces of a proxy at `address`; none without an admin port."""
    if not port:
        return
    value = admin.Admin(
        address=address,
        admin_address=client.admin_socket or client.admin_address,
        admin_port=port,
        readiness=client.readiness_address is not None,
        unified=client.unified,
        reuse_port=client.reuse_port,
        tls=admin_tls(ctx),
    )
    name = naming.admin_name(unified=client.unified)
    query = admin.admin_cluster.query(client.admin_socket or client.admin_address, port, client.unified)
    yield Item(CLUSTER, name, query)
    if client.readiness_address is not None:
        ready = naming.readiness_name(unified=client.unified)
        query = admin.readiness_cluster.query(*client.readiness_address, client.unified)
        yield Item(CLUSTER, ready, query)
    if value.listens:
        yield Item(LISTENER, name, admin.admin_listener.query(value))


def _telemetry(
    ctx: Context,
    facts: DataplaneFacts,
    client: Client,
    security: tls.Security | None,
    proxy: KindConfs,
) -> Iterator[Item]:
    yield from telemetry.trace_items(proxy, ipv6=client.ipv6, unified=client.unified)
    yield from metrics.metric_items(proxy, facts, client, security)
    documents = []
    if client.embedded_dns:
        documents.append(("/dns", dynamic.dns_document(ctx, facts.mesh, facts.zone or client.zone)))
    if published := dynamic.metric_document(proxy, facts, client.work_dir):
        documents.append(("/meshmetric", published))
    if documents:
        socket = client.socket(f"kuma-dynamicconfig-{facts.name}-{facts.mesh}")
        value = dynamic.Dynamic(socket, tuple(documents), client.unified)
        yield Item(LISTENER, value.name, dynamic.dynamic_listener.query(value))
