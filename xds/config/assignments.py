"""Assignments: the endpoints of a cluster as one resource, as a client at some place should have it."""

from __future__ import annotations

from xds.config.endpoints import Selector, destination_endpoints, selected_endpoints
from xds.config.external import external_endpoints
from xds.config.facts import Pairs
from xds.config.localities import Place, placed_assignment
from xds.engine import Context, derivation
from xds.types import Encoded


@derivation
def assignment(
    ctx: Context, cluster: str, kind: str, mesh: str, name: str, port: int, place: Place
) -> Encoded:
    """The assignment of one port of a destination."""
    if kind == "MeshExternalService":
        return placed_assignment(cluster, external_endpoints(ctx, mesh, name, place.zone), place)
    return placed_assignment(cluster, destination_endpoints(ctx, kind, mesh, name, port), place)


@derivation
def service_assignment(ctx: Context, cluster: str, mesh: str, tags: Pairs, place: Place) -> Encoded:
    """The assignment of a service known by tags."""
    return placed_assignment(cluster, selected_endpoints(ctx, mesh, Selector(tags=tags)), place)
