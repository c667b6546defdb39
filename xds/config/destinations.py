"""From destinations to resources: which listener, clusters and assignments an outbound needs.

Proxies with equal profiles share everything here; the resources themselves depend on content only,
so different profiles that lead to equal content share those, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mesh import naming
from mesh.policy.merge import hash_matches
from mesh.policy.meta import with_section
from mesh.resource import SERVICE_TAG
from xds.config import confs, routes, vips
from xds.config.backends import Backends, Item, Profile, cluster_name, service_protocol
from xds.config.confs import KindConfs
from xds.config.facts import Pairs, destination, destinations, is_http
from xds.config.outbound import Outbound, outbound_listener, outbound_routes
from xds.config.policies import LISTENER_KINDS, ROUTE_KINDS
from xds.engine import Context, derivation
from xds.types import LISTENER, ROUTE


@derivation
def all_destinations(ctx: Context, profile: Profile, ipv6: bool) -> tuple[Item, ...]:
    """Listeners on the virtual addresses of every destination of the mesh."""
    keys = destinations(ctx, profile.mesh)
    return tuple(item for kind, name in keys for item in _at_vips(ctx, profile, kind, name, ipv6))


@derivation
def some_destinations(
    ctx: Context, profile: Profile, wanted: tuple[tuple[str, str, int], ...], ipv6: bool
) -> tuple[Item, ...]:
    """As `all_destinations`, for (kind, stored name, port or 0) only."""
    return tuple(
        item for kind, name, port in wanted for item in _at_vips(ctx, profile, kind, name, ipv6, port)
    )


def _at_vips(
    ctx: Context, profile: Profile, kind: str, name: str, ipv6: bool, only: int = 0
) -> Iterator[Item]:
    facts = destination(ctx, kind, profile.mesh, name)
    if facts is None:
        return
    for port in facts.ports:
        for vip in facts.vips:
            if only in (0, port.number) and (ipv6 or ":" not in vip):
                yield from outbound_items(ctx, profile, kind, name, port.number, vip, port.number)


@derivation
def service_destinations(ctx: Context, profile: Profile, wanted: tuple[str, ...]) -> tuple[Item, ...]:
    """Listeners on the virtual addresses of services known by tags. wanted: their names; () for all."""
    return tuple(
        item
        for service, address in vips.service_vips(ctx, profile.mesh, profile.zone)
        if not wanted or service in wanted
        for item in service_items(ctx, profile, ((SERVICE_TAG, service),), address, vips.PORT)
    )


@derivation
def outbound_items(
    ctx: Context, profile: Profile, kind: str, name: str, port_number: int, address: str, listen_port: int
) -> tuple[Item, ...]:
    """The listener at an address, and what is behind it, for one port of a destination."""
    facts = destination(ctx, kind, profile.mesh, name)
    port = facts.port(port_number) if facts is not None else None
    if facts is None or port is None:
        return ()
    policies = confs.to_confs(ctx, profile.mesh, profile.matched, facts.kri, port.section)
    backends = Backends(ctx, profile, legacy=False)
    own = cluster_name(facts, port, profile)

    def confs_of_route(kind: str, names: confs.Names, kri: str) -> str:
        return confs.conf_of_route(ctx, kind, profile.mesh, names, kri, dict(policies).get(kind, ""))

    found, splits = _routes(profile, policies, port.protocol, own, backends, confs_of_route)
    if any(own == split.cluster for route in found for split in route.splits) or not splits:
        backends.add_port(facts, port)
    kri = with_section(facts.kri, port.section)
    outbound = Outbound(
        name=naming.outbound_listener_name(address, listen_port, kri, unified=profile.unified),
        address=address,
        port=listen_port,
        protocol=port.protocol,
        service=own,
        display_service=facts.display_name,
        virtual_host=own,
        route_config=kri,
        tags=(("kuma.io/unified-name", kri),),
        bind=profile.bind,
        dynamic_routes=profile.dynamic_routes,
        routes=found,
        splits=splits,
        confs=confs.only(policies, LISTENER_KINDS),
        proxy=profile.proxy,
        source=profile.source,
        told_tags=profile.told_tags,
        kafka=profile.kafka and port.protocol == "kafka",
    )
    return (*_listener_items(outbound), *backends.items())


@derivation
def service_items(
    ctx: Context, profile: Profile, tags: Pairs, address: str, listen_port: int
) -> tuple[Item, ...]:
    """The listener of a declared outbound that names its destination by tags."""
    service = dict(tags).get(SERVICE_TAG, "")
    policies = confs.service_confs(ctx, profile.mesh, profile.matched, service)
    protocol = service_protocol(ctx, profile.mesh, service)
    backends = Backends(ctx, profile, legacy=True)
    own = backends.add_service(tags)

    def confs_of_route(kind: str, names: confs.Names, kri: str) -> str:
        return confs.conf_of_route(ctx, kind, profile.mesh, names, kri, dict(policies).get(kind, ""))

    found, splits = _routes(profile, policies, protocol, own, backends, confs_of_route)
    outbound = Outbound(
        name=naming.outbound_listener_name(address, listen_port),
        address=address,
        port=listen_port,
        protocol=protocol,
        service=service,
        display_service=service,
        virtual_host=service,
        route_config=naming.outbound_route_name(service),
        tags=tags,
        bind=profile.bind,
        dynamic_routes=profile.dynamic_routes,
        routes=found,
        splits=splits,
        confs=confs.only(policies, LISTENER_KINDS),
        proxy=profile.proxy,
        source=profile.source,
        told_tags=profile.told_tags,
        kafka=profile.kafka and protocol == "kafka",
    )
    return (*_listener_items(outbound), *backends.items())


def _listener_items(outbound: Outbound) -> Iterator[Item]:
    yield Item(LISTENER, outbound.name, outbound_listener.query(outbound))
    if outbound.dynamic_routes and outbound.http:
        yield Item(ROUTE, outbound.name, outbound_routes.query(outbound))


# --- routes --------------------------------------------------------------------------------------


def _routes(
    profile: Profile, policies: KindConfs, protocol: str, own: str, backends: Backends, confs_of_route: Any
) -> tuple[tuple[routes.Route, ...], tuple[routes.Split, ...]]:
    """HTTP routes, and the splits of a TCP route. `backends` gets what they point to."""
    http = confs.raw_conf("MeshHTTPRoute", policies) if is_http(protocol) else None
    if http is not None:
        return routes.routes_of(_rules(profile, http, own, backends, confs_of_route), own), ()
    tcp = confs.raw_conf("MeshTCPRoute", policies)
    refs = (tcp["conf"].get("default") or {}).get("backendRefs") if tcp is not None else None
    splits = _splits(backends, tcp["origin"], refs, own) if refs else ()
    return (routes.default_route(own),), splits


def _rules(
    profile: Profile, found: Mapping[str, Any], own: str, backends: Backends, confs_of_route: Any
) -> Iterator[routes.Rule]:
    for conf in found["confs"]:
        for rule in conf["rules"]:
            matches = rule.get("matches") or []
            default = rule.get("default") or {}
            kri = found["origins"].get(hash_matches(matches), "")
            filters = default.get("filters") or []
            refs = default.get("backendRefs")
            splits = _splits(backends, kri, refs, own) if refs is not None else (routes.Split(own),)
            kinds = [(kind, names) for kind, names in profile.matched if kri and kind in ROUTE_KINDS]
            texts = ((kind, confs_of_route(kind, names, kri)) for kind, names in kinds)
            yield routes.Rule(
                matches,
                filters,
                splits,
                tuple(mirrors_of(backends, kri, filters)),
                kri,
                tuple((kind, text) for kind, text in texts if text),
            )


def _splits(
    backends: Backends, kri: str, refs: Iterable[Mapping[str, Any]], own: str
) -> tuple[routes.Split, ...]:
    """Where backendRefs lead. Those that lead nowhere are left out; if all do, nothing changes. Shares of zero are
    none: if all are zero, nothing goes anywhere."""
    found = []
    for ref in refs:
        cluster = backends.add_ref(kri, ref)
        if cluster:
            found.append(routes.Split(cluster, int(ref.get("weight", 1))))
    return routes.merged_splits(found) if found else (routes.Split(own),)


def mirrors_of(
    backends: Backends, kri: str, filters: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, str]]:
    """(cluster, percentage) of each copy of requests that the filters of a rule ask for."""
    for found in filters:
        mirror = found.get("requestMirror")
        cluster = backends.add_ref(kri, mirror["backendRef"]) if mirror else ""
        if mirror and cluster:
            percentage = mirror.get("percentage")
            yield cluster, "" if percentage is None else str(percentage)
