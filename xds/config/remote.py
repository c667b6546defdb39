"""Endpoints in other zones: their entrances, which pass traffic on by server name.

A zone's proxies are not reached one by one. Its entrance is the MeshZoneAddress of the mesh there, or
the public address of its ZoneIngresses, which also tell which old services they have. Traffic that
crosses zones is always mTLS, since only the server name tells an entrance where it goes.
"""

from __future__ import annotations

from collections.abc import Iterator

from mesh.resource import SERVICE_TAG, ZONE_TAG
from xds.config.endpoints import (
    Endpoint,
    Selector,
    endpoint_rest,
    multi_zone_members,
    selected_endpoints,
    service_endpoints,
)
from xds.config.facts import Pairs, destination
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


def _endpoint(zone: str, address: str, port: int, tags: Pairs, weight: int = 1) -> Endpoint:
    frame = socket_endpoint_frame(address, port, endpoint_rest(tags, (), weight))
    return Endpoint(zone, frame, tags, address, port)


# --- destinations that are resources ---------------------------------------------------------------


@derivation
def placed_endpoints(
    ctx: Context, kind: str, mesh: str, name: str, port: int, zone: str, crossing: bool
) -> tuple[Endpoint, ...]:
    """The endpoints of one port of a destination for clients in a zone: the near ones, and entrances.

    crossing: clients have certificates, so they may be sent to other zones.
    """
    if kind == "MeshMultiZoneService":
        members = multi_zone_members(ctx, mesh, name)
        found = [
            endpoint
            for member in members
            for endpoint in placed_endpoints(ctx, "MeshService", mesh, member, port, zone, crossing)
        ]
        return tuple({(e.zone, e.address, e.port): e for e in found}.values())
    facts = destination(ctx, kind, mesh, name)
    if kind != "MeshService" or facts is None:
        return ()
    if facts.zone in ("", zone) or not zone:
        return service_endpoints(ctx, mesh, name, port)
    if not crossing:
        return ()
    tags = ((ZONE_TAG, facts.zone),)
    return tuple(_endpoint(facts.zone, address, at, tags) for address, at in entrances(ctx, mesh, facts.zone))


# --- services known by tags ------------------------------------------------------------------------


@derivation
def placed_service_endpoints(
    ctx: Context, mesh: str, tags: Pairs, zone: str, crossing: bool
) -> tuple[Endpoint, ...]:
    """The endpoints of the inbounds with some tags for clients in a zone."""
    near = selected_endpoints(ctx, mesh, Selector(tags=tags))
    if not crossing or not zone:
        return near
    return (*near, *_far(ctx, mesh, tags, zone))


def _far(ctx: Context, mesh: str, tags: Pairs, own: str) -> Iterator[Endpoint]:
    for zone in other_zones(ctx, own):
        if not zone_enabled(ctx, zone):
            continue
        seen: set[tuple[str, int, Pairs]] = set()
        for address, port, _, services in ingresses(ctx, zone):
            for offered_mesh, offered, instances in services:
                if offered_mesh != mesh or not set(tags) <= set(offered) or (address, port, offered) in seen:
                    continue
                seen.add((address, port, offered))
                rest = tuple(pair for pair in offered if pair[0] != SERVICE_TAG)
                yield _endpoint(zone, address, port, rest, max(instances, 1))
