"""Into other meshes: what a member of one mesh gets so that it reaches the gateways of others (doors.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mesh import naming
from mesh.resource import SERVICE_TAG
from xds.config import confs, routes
from xds.config.backends import Item, Profile
from xds.config.doors import ALL_MESHES, Door, authorities, door_endpoints, doors, secured_meshes
from xds.config.facts import Pairs
from xds.config.localities import Place, placed_assignment
from xds.config.names import tagged_cluster_name
from xds.config.outbound import Backend, Outbound, backend_cluster, outbound_listener, outbound_routes
from xds.config.policies import BACKEND_KINDS, LISTENER_KINDS
from xds.config.tls import Security, UpstreamTls
from xds.config.vips import door_vips
from xds.engine import Context, derivation
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, Encoded

MESH_TAG = "kuma.io/mesh"


@derivation
def door_destinations(ctx: Context, profile: Profile) -> tuple[Item, ...]:
    """Listeners on the virtual addresses of all doors."""
    addresses = dict(door_vips(ctx, profile.mesh, profile.zone))
    return tuple(
        item
        for door in doors(ctx, profile.mesh)
        for item in _items(ctx, profile, door, addresses[door.hostname], door.port)
    )


@derivation
def door_items(
    ctx: Context, profile: Profile, tags: Pairs, address: str, listen_port: int
) -> tuple[Item, ...]:
    """The listener of a declared outbound that names a service of another mesh; nothing if it is no door."""
    wanted = dict(tags)
    for door in doors(ctx, profile.mesh):
        if (door.mesh, door.service) == (wanted.get(MESH_TAG), wanted.get(SERVICE_TAG)):
            return tuple(_items(ctx, profile, door, address, listen_port))
    return ()


def _items(ctx: Context, profile: Profile, door: Door, address: str, port: int) -> Iterator[Item]:
    security = profile.security
    if security is None or security.spiffe:
        return
    tags = {SERVICE_TAG: door.service, MESH_TAG: door.mesh, "kuma.io/port": str(door.port)}
    name = tagged_cluster_name(tags)
    ca = naming.ca_secret_name(door.mesh, unified=profile.unified)
    policies = confs.service_confs(ctx, profile.mesh, profile.matched, door.service)
    backend = Backend(
        name=name,
        protocol="http",
        tls=UpstreamTls(
            security.identity_secret,
            ca,
            (f"spiffe://{door.mesh}/{door.service}",),
            naming.sni_of_tags({SERVICE_TAG: door.service}, door.mesh),
        ),
        confs=confs.only(policies, BACKEND_KINDS),
        tls_conf=profile.tls_conf,
    )
    outbound = Outbound(
        name=naming.outbound_listener_name(address, port),
        address=address,
        port=port,
        protocol="http",
        service=door.service,
        display_service=door.service,
        virtual_host=door.service,
        route_config=naming.outbound_route_name(door.service),
        tags=((SERVICE_TAG, door.service), (MESH_TAG, door.mesh)),
        bind=profile.bind,
        dynamic_routes=profile.dynamic_routes,
        routes=(routes.default_route(name),),
        confs=confs.only(policies, LISTENER_KINDS),
        proxy=profile.proxy,
        source=profile.source,
    )
    yield Item(LISTENER, outbound.name, outbound_listener.query(outbound))
    if outbound.dynamic_routes:
        yield Item(ROUTE, outbound.name, outbound_routes.query(outbound))
    yield Item(CLUSTER, name, backend_cluster.query(backend))
    yield Item(ENDPOINT, name, door_assignment.query(name, door, profile.zone))
    yield Item(SECRET, ca, authorities.query(ca, door.mesh))


@derivation
def door_assignment(ctx: Context, cluster: str, door: Door, zone: str) -> Encoded:
    """The gateways behind a door."""
    return placed_assignment(cluster, door_endpoints(ctx, door, zone), Place(zone))


# --- the gateway's side --------------------------------------------------------------------------


def open_to_all(ctx: Context, security: Security, *, unified: bool) -> tuple[Security, Item]:
    """The security of a door: members of any mesh may come. And the secret with their authorities."""
    name = naming.ca_secret_name(ALL_MESHES, unified=unified)
    prefixes = tuple(f"spiffe://{mesh}/" for mesh in secured_meshes(ctx))
    opened = replace(security, ca_secret=name, trust_prefixes=prefixes)
    return opened, Item(SECRET, name, authorities.query(name, ALL_MESHES))
