"""What resources refer to, and which of it is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from chaos.fakeenvoy import references, walk
from xds import proto
from xds.types import CLUSTER, LISTENER, ROUTE, Encoded

Name = tuple[str, str]  # type URL, resource name
ROUTE_ACTION = "envoy.config.route.v3.RouteAction"
TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def dangling(resources: Mapping[Name, Encoded]) -> frozenset[tuple[Name, Name]]:
    """(who, what) of each reference to a cluster, endpoints, routes or a secret that is not among the resources.

    Where traffic may not pass through, its listener leads to a cluster that is not there, which is meant.
    """
    return frozenset(
        (name, other)
        for name, encoded in resources.items()
        for other in _references(name[0], encoded.body)
        if other not in resources and "passthrough" not in other[1]
    )


@cache
def _references(type_url: str, body: bytes) -> frozenset[Name]:
    asked = references(type_url, body) if type_url in (CLUSTER, LISTENER) else ()
    clusters = _clusters(type_url, body) if type_url in (LISTENER, ROUTE) else ()
    return frozenset((*asked, *((CLUSTER, name) for name in clusters)))


def _clusters(type_url: str, body: bytes) -> Iterator[str]:
    """The clusters to which a listener or route leads."""
    for message in walk(proto.msg_of_url(type_url).FromString(body)):
        if message.DESCRIPTOR.full_name in (ROUTE_ACTION, TCP_PROXY):
            if message.cluster:
                yield message.cluster
            yield from (each.name for each in message.weighted_clusters.clusters)
