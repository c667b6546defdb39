"""Endpoints in other zones: their entrances, which pass traffic on by server name.

A zone's proxies are not reached one by one. Its entrance is the MeshZoneAddress of the mesh there, or
the public address of its ZoneIngresses, which also tell which old services they have. Traffic that
crosses zones is always mTLS, since only the server name tells an entrance where it goes. A mesh may want
all that leaves a zone to pass its egresses (kind ZoneEgress), which then stand for the entrances.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mesh.resource import PROTOCOL_TAG, SERVICE_TAG, ZONE_TAG
from xds.config.endpoints import (
    Endpoint,
    Selector,
    endpoint_rest,
    multi_zone_members,
    selected_endpoints,
    service_endpoints,
)
from xds.config.facts import Pairs, destination, mesh_facts, protocol_of
from xds.encode import socket_endpoint_frame
from xds.engine import Context, derivation


@derivation
def zone_enabled(ctx: Context, zone: str) -> bool:
    """Whether other zones may be sent to this one."""
    resource = ctx.get("Zone", "", zone)
    return resource is None or resource.spec.enabled is not False


@derivation
def entrances(ctx: Context, mesh: str, zone: str) -> tuple[tuple[str, int], ...]:
    """(address, port) pairs through which a mesh in another zone is reached, each once."""
    if not zone_enabled(ctx, zone):
        return ()
    found: dict[tuple[str, int], None] = {}
    for resource in ctx.list("MeshZoneAddress", mesh):
        if resource.zone == zone:
            found[resource.spec.address, resource.spec.port] = None
    if not found:
        found.update(dict.fromkeys((address, port) for address, port, _, _ in ingresses(ctx, zone)))
    return tuple(found)


@derivation
def ingresses(
    ctx: Context, zone: str
) -> tuple[tuple[str, int, str, tuple[tuple[str, Pairs, int], ...]], ...]:
    """(address, port, name, services) of the ZoneIngresses of a zone that can be reached.

    services: (mesh, tags, instances) of what it offers.
    """
    found = []
    for resource in ctx.list("ZoneIngress", ""):
        if (resource.spec.zone or resource.zone) != zone or not resource.spec.is_advertised:
            continue
        networking = resource.spec.networking
        services = tuple(
            (service.mesh, tuple(sorted((service.tags or {}).items())), service.instances)
            for service in resource.spec.available_services
        )
        address, port = networking.advertised_address, networking.advertised_port
        found.append((address, port, resource.name, services))
    return tuple(found)


@derivation
def other_zones(ctx: Context, own: str) -> tuple[str, ...]:
    """Zones with an ingress, but for the own one."""
    found = {resource.spec.zone or resource.zone for resource in ctx.list("ZoneIngress", "")}
    return tuple(sorted(found - {"", own}))


class Entrance(NamedTuple):
    """A way to some endpoints of another zone: where, with what tags, and how many of them."""

    zone: str
    address: str
    port: int
    tags: Pairs
    weight: int = 1

    def endpoint(self) -> Endpoint:
        frame = socket_endpoint_frame(self.address, self.port, endpoint_rest(self.tags, (), self.weight))
        return Endpoint(self.zone, frame, self.tags, self.address, self.port)


@derivation
def detour(ctx: Context, mesh: str, zone: str) -> tuple[tuple[str, int], ...]:
    """(address, port) of the ZoneEgresses through which a mesh wants its traffic to leave a zone, if any."""
    settings = mesh_facts(ctx, mesh)
    if settings is None or not settings.zone_egress:
        return ()
    found: dict[tuple[str, int], None] = {}
    for resource in ctx.list("ZoneEgress", ""):
        networking = resource.spec.networking
        if (resource.spec.zone or resource.zone) in ("", zone) and networking is not None:
            found[networking.address, networking.port] = None
    return tuple(found)


def _leaving(ctx: Context, mesh: str, zone: str, far: Iterable[Entrance]) -> Iterator[Endpoint]:
    """Far entrances as clients in a zone reach them: by the egresses of their own, if it has any."""
    exits = detour(ctx, mesh, zone)
    if not exits:
        yield from (entrance.endpoint() for entrance in far)
        return
    weights: dict[tuple[str, Pairs], int] = {}
    for entrance in far:
        place = (entrance.zone, entrance.tags)
        weights[place] = weights.get(place, 0) + entrance.weight
    for (there, tags), weight in weights.items():
        for address, port in exits:
            yield Entrance(there, address, port, tags, weight).endpoint()


# --- destinations that are resources ---------------------------------------------------------------


@derivation
def placed_endpoints(
    ctx: Context, kind: str, mesh: str, name: str, port: int, zone: str, crossing: bool
) -> tuple[Endpoint, ...]:
    """The endpoints of one port of a destination for clients in a zone: the near ones, and ways to others.

    crossing: clients have certificates, so they may be sent to other zones.
    """
    if kind == "MeshService" and _is_near(ctx, mesh, name, zone):
        return service_endpoints(ctx, mesh, name, port)
    members = _members(ctx, kind, mesh, name)
    near = (
        service_endpoints(ctx, mesh, found, port) for found in members if _is_near(ctx, mesh, found, zone)
    )
    found = list(itertools.chain.from_iterable(near))
    if crossing and zone:
        found.extend(_leaving(ctx, mesh, zone, _far(ctx, kind, mesh, name, zone)))
    return tuple({(e.zone, e.address, e.port): e for e in found}.values())


def _is_near(ctx: Context, mesh: str, name: str, zone: str) -> bool:
    facts = destination(ctx, "MeshService", mesh, name)
    return facts is not None and (facts.zone in ("", zone) or not zone)


@derivation
def far_endpoints(ctx: Context, kind: str, mesh: str, name: str, zone: str) -> tuple[Endpoint, ...]:
    """The entrances of other zones to a destination, as an egress reaches them."""
    found = (entrance.endpoint() for entrance in _far(ctx, kind, mesh, name, zone))
    return tuple({(e.zone, e.address, e.port): e for e in found}.values())


def _members(ctx: Context, kind: str, mesh: str, name: str) -> tuple[str, ...]:
    if kind == "MeshMultiZoneService":
        return multi_zone_members(ctx, mesh, name)
    return (name,) if kind == "MeshService" else ()


def _far(ctx: Context, kind: str, mesh: str, name: str, zone: str) -> Iterator[Entrance]:
    for member in _members(ctx, kind, mesh, name):
        facts = destination(ctx, "MeshService", mesh, member)
        if facts is not None and facts.zone not in ("", zone):
            for address, port in entrances(ctx, mesh, facts.zone):
                yield Entrance(facts.zone, address, port, ((ZONE_TAG, facts.zone),))


# --- services known by tags ------------------------------------------------------------------------


@derivation
def placed_service_endpoints(
    ctx: Context, mesh: str, tags: Pairs, zone: str, crossing: bool
) -> tuple[Endpoint, ...]:
    """The endpoints of the inbounds with some tags for clients in a zone."""
    near = selected_endpoints(ctx, mesh, Selector(tags=tags))
    if not crossing or not zone:
        return near
    return (*near, *_leaving(ctx, mesh, zone, _far_service(ctx, mesh, tags, zone)))


@derivation
def far_service_endpoints(ctx: Context, mesh: str, tags: Pairs, zone: str) -> tuple[Endpoint, ...]:
    """The entrances of other zones to the inbounds with some tags, as an egress reaches them."""
    return tuple(entrance.endpoint() for entrance in _far_service(ctx, mesh, tags, zone))


@derivation
def far_services(ctx: Context, mesh: str, own: str) -> tuple[str, ...]:
    """The services of a mesh that other zones offer."""
    return tuple(sorted({dict(tags).get(SERVICE_TAG, "") for *_, tags, _ in _offers(ctx, mesh, own)} - {""}))


@derivation
def far_protocols(ctx: Context, mesh: str, service: str) -> tuple[str, ...]:
    """The protocols of a service, as the ingresses of all zones tell them."""
    offered = (dict(tags) for *_, tags, _ in _offers(ctx, mesh, ""))
    found = (tags.get(PROTOCOL_TAG, "tcp") for tags in offered if tags.get(SERVICE_TAG) == service)
    return tuple(sorted({protocol_of(protocol) for protocol in found}))


def _far_service(ctx: Context, mesh: str, tags: Pairs, own: str) -> Iterator[Entrance]:
    seen: set[tuple[str, str, int, Pairs]] = set()
    for zone, address, port, offered, instances in _offers(ctx, mesh, own):
        if not set(tags) <= set(offered) or (zone, address, port, offered) in seen:
            continue
        seen.add((zone, address, port, offered))
        rest = tuple(pair for pair in offered if pair[0] != SERVICE_TAG)
        yield Entrance(zone, address, port, rest, max(instances, 1))


def _offers(ctx: Context, mesh: str, own: str) -> Iterator[tuple[str, str, int, Pairs, int]]:
    """(zone, address, port, tags, instances) of what the ingresses of other zones have of a mesh."""
    for zone in other_zones(ctx, own):
        if not zone_enabled(ctx, zone):
            continue
        for address, port, _, services in ingresses(ctx, zone):
            for offered_mesh, offered, instances in services:
                if offered_mesh == mesh:
                    yield zone, address, port, offered, instances
