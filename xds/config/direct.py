"""Direct access: single proxies of a service, reached at their own addresses.

With transparent proxying a client may address one instance by IP. Unclaimed it would pass through in
the clear; a listener on that address carries it with the mesh's TLS instead.
"""

from __future__ import annotations

from collections.abc import Iterator

from mesh.resource import SERVICE_TAG
from xds.config import cluster, hcm
from xds.config.backends import Item
from xds.config.confs import KindConfs
from xds.config.draft import Draft, serialized, wrapped
from xds.config.endpoints import Selector, selected_endpoints
from xds.config.facts import dataplane_facts
from xds.config.outbound import Source
from xds.config.policies import accesslog
from xds.config.tls import Security, member_socket
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, LISTENER, Encoded

CLUSTER_NAME = "direct_access"
ANY_SERVICE = "*"


@derivation
def direct_items(
    ctx: Context,
    mesh: str,
    own: str,
    services: tuple[str, ...],
    security: Security | None,
    logged: KindConfs,
    source: Source | None,
) -> tuple[Item, ...]:
    """Listeners on the addresses of all proxies of some services, but for the client's own (`own`).

    logged, source: what the client's policies say of logs, and who it is; None for nobody logs.
    """
    found: dict[tuple[str, int], None] = {}
    for name in services:
        found.update(dict.fromkeys(_addresses(ctx, mesh, own, name)))
    if not found:
        return ()
    items = [
        Item(LISTENER, listener_name(address, port), direct_listener.query(address, port, logged, source))
        for address, port in sorted(found)
    ]
    return (*items, Item(CLUSTER, CLUSTER_NAME, direct_cluster.query(security)))


def _addresses(ctx: Context, mesh: str, own: str, service: str) -> Iterator[tuple[str, int]]:
    if service == ANY_SERVICE:
        for resource in ctx.list("Dataplane", mesh):
            facts = dataplane_facts(ctx, mesh, resource.name)
            if facts is not None and resource.name != own:
                yield from ((i.advertised, i.port) for i in facts.inbounds if i.ready)
        return
    own_facts = dataplane_facts(ctx, mesh, own)
    mine = {(i.advertised, i.port) for i in own_facts.inbounds} if own_facts is not None else set()
    for endpoint in selected_endpoints(ctx, mesh, Selector(tags=((SERVICE_TAG, service),))):
        if (endpoint.address, endpoint.port) not in mine:
            yield endpoint.address, endpoint.port


def listener_name(address: str, port: int) -> str:
    return f"{CLUSTER_NAME}_{address}:{port}"


@derivation
def direct_listener(
    ctx: Context, address: str, port: int, logged: KindConfs, source: Source | None
) -> Encoded:
    """Carries connections to one proxy."""
    name = listener_name(address, port)
    draft = hcm.listener(name, address, port, "OUTBOUND") | {"bind_to_port": wrapped(False)}
    draft["filter_chains"] = [{"filters": [hcm.tcp_proxy(name, CLUSTER_NAME)]}]
    accesslog.edit_direct(draft, name, logged, source)
    return encode(LISTENER, name, serialized(hcm.LISTENER, draft))


@derivation
def direct_cluster(ctx: Context, security: Security | None) -> Encoded:
    """Goes to the address that was asked for, as a member of the mesh."""
    draft: Draft = cluster.passthrough(CLUSTER_NAME)
    if security is not None:
        draft["transport_socket"] = member_socket(security)
    return encode(CLUSTER, CLUSTER_NAME, serialized(cluster.CLUSTER, draft))
