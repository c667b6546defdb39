"""Assignments: the endpoints of a cluster as one resource."""

from __future__ import annotations

from collections.abc import Iterable

from xds.config.endpoints import Endpoint, Selector, destination_endpoints, selected_endpoints
from xds.config.external import external_endpoints
from xds.config.facts import Pairs
from xds.encode import LocalityEndpoints, encode_assignment
from xds.engine import Context, derivation
from xds.types import Encoded


@derivation
def assignment(ctx: Context, cluster: str, kind: str, mesh: str, name: str, port: int, zone: str) -> Encoded:
    """The assignment of one port of a destination, for clients in a zone."""
    if kind == "MeshExternalService":
        return encode_assignment(cluster, localities(external_endpoints(ctx, mesh, name, zone)))
    return encode_assignment(cluster, localities(destination_endpoints(ctx, kind, mesh, name, port)))


@derivation
def service_assignment(ctx: Context, cluster: str, mesh: str, tags: Pairs) -> Encoded:
    """The assignment of a service known by tags."""
    return encode_assignment(cluster, localities(selected_endpoints(ctx, mesh, Selector(tags=tags))))


def localities(endpoints: Iterable[Endpoint]) -> list[LocalityEndpoints]:
    """The endpoints by zone, zones in order."""
    zones: dict[str, list[bytes]] = {}
    for endpoint in endpoints:
        zones.setdefault(endpoint.zone, []).append(endpoint.frame)
    return [LocalityEndpoints(tuple(zones[zone]), zone) for zone in sorted(zones)]
