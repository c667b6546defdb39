"""The services of a mesh that are known by the tags of inbounds.

Whoever lists them reads shards of an index, so a proxy that joins makes one shard look at its members, and
only a service that is new or gone goes further.
"""

from __future__ import annotations

from mesh.indexes import SERVICE_SHARDS
from xds.engine import Context, derivation


@derivation
def services_of(ctx: Context, mesh: str, gateways: bool) -> tuple[str, ...]:
    """The services that the Dataplanes of a mesh are part of. gateways: also those that gateways speak for."""
    shards = (_of_shard(ctx, mesh, shard, gateways) for shard in SERVICE_SHARDS)
    return tuple(sorted({service for shard in shards for service in shard}))


@derivation
def _of_shard(ctx: Context, mesh: str, shard: str, gateways: bool) -> tuple[str, ...]:
    keys = ctx.lookup("dataplane_by_service_shard", mesh, shard)
    found = (_of_dataplane(ctx, mesh, key.name, gateways) for key in keys)
    return tuple(sorted({service for services in found for service in services}))


@derivation
def _of_dataplane(ctx: Context, mesh: str, name: str, gateways: bool) -> tuple[str, ...]:
    """The services of one Dataplane; it stops the wave of whatever else changes in it."""
    resource = ctx.get("Dataplane", mesh, name)
    if resource is None or resource.spec.networking is None:
        return ()
    if resource.spec.networking.gateway is not None and not gateways:
        return ()
    return tuple(resource.spec.services)
