"""Assignments: the endpoints of a cluster as one resource, as a client at some place should have it."""

from __future__ import annotations

from xds.config.external import external_endpoints
from xds.config.facts import Pairs
from xds.config.localities import Place, placed_assignment
from xds.config.remote import placed_endpoints, placed_service_endpoints
from xds.engine import Context, derivation
from xds.types import Encoded


@derivation
def assignment(
    ctx: Context, cluster: str, kind: str, mesh: str, name: str, port: int, place: Place
) -> Encoded:
    """The assignment of one port of a destination."""
    if kind == "MeshExternalService":
        found = external_endpoints(ctx, mesh, name, place.zone)
    else:
        found = placed_endpoints(ctx, kind, mesh, name, port, place.zone, place.crossing)
    return placed_assignment(cluster, found, place)


@derivation
def service_assignment(ctx: Context, cluster: str, mesh: str, tags: Pairs, place: Place) -> Encoded:
    """The assignment of a service known by tags."""
    found = placed_service_endpoints(ctx, mesh, tags, place.zone, place.crossing)
    return placed_assignment(cluster, found, place)
