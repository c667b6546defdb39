"""Outbounds: the listener of a destination's address, with its routes, and the clusters behind it.

The values here are the identity of what they produce: two proxies whose outbounds are equal share
one listener and one cluster, encoded once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from xds.config import cluster, hcm, policies
from xds.config.confs import KindConfs
from xds.config.draft import Draft, seconds, serialized, wrapped
from xds.config.facts import Pairs, is_http
from xds.config.routes import Route, Split, route_drafts
from xds.config.tls import UpstreamTls
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, LISTENER, ROUTE, Encoded

TCP_IDLE_S = 3600


@dataclass(frozen=True, slots=True)
class Backend:
    """Everything that the cluster of a destination depends on.

    confs: of the kinds that configure clusters. tls_conf: MeshTLS of the client, which decides
    versions and ciphers for both directions. told_tags: tags of the client that health checks carry.
    """

    name: str
    protocol: str
    tls: UpstreamTls | None = None
    http2: bool = True
    buffer_limit_bytes: int = 0
    confs: KindConfs = ()
    tls_conf: KindConfs = ()
    told_tags: Pairs = ()


@dataclass(frozen=True, slots=True)
class Source:
    """What access logs and spans tell of the proxy.

    log_socket: where the runner takes log lines for collectors. workload: KRI, "" without one.
    log_clusters: (endpoint of a collector, name of its cluster), of those that log records go to. unified: the
    proxy wants the new names.
    """

    service: str
    mesh: str
    zone: str
    address: str = ""
    log_socket: str = ""
    workload: str = ""
    log_clusters: Pairs = ()
    unified: bool = False

    def log_cluster(self, endpoint: str) -> str:
        """The cluster of a collector of log records."""
        return dict(self.log_clusters)[endpoint]


@dataclass(frozen=True, slots=True)
class Outbound:
    """Everything that the listener of a destination depends on.

    service: what the destination is called in statistics; display_service: in logs. tags: metadata.
    told_tags: tags of the client that requests carry, for servers that inject faults by them.
    splits: where bytes go when the protocol has no requests. proxy: confs of the client as a whole.
    kafka: what Kafka says is counted, since this Envoy can.
    dynamic_routes: routes are a resource of their own, which has the name of the listener (ADR 5).
    """

    name: str
    address: str
    port: int
    protocol: str
    service: str
    display_service: str
    virtual_host: str
    route_config: str
    tags: Pairs
    bind: bool
    dynamic_routes: bool = False
    routes: tuple[Route, ...] = ()
    splits: tuple[Split, ...] = ()
    confs: KindConfs = ()
    proxy: KindConfs = ()
    source: Source | None = None
    told_tags: Pairs = ()
    kafka: bool = False

    @property
    def http(self) -> bool:
        """Whether it carries requests: a destination that TCP routes claim carries bytes."""
        return is_http(self.protocol) and not self.splits

    @property
    def resource(self) -> bool:
        """Whether the destination is a resource, not a set of tags."""
        return self.route_config.startswith("kri_")

    @property
    def external(self) -> bool:
        """Whether the destination is outside the mesh, where hosts have their own names."""
        return self.route_config.startswith("kri_extsvc_")


@derivation
def backend_cluster(ctx: Context, backend: Backend) -> Encoded:
    """The cluster of a destination."""
    draft = cluster.eds(backend.name, backend.tls, http2=backend.http2)
    if backend.buffer_limit_bytes:
        draft["per_connection_buffer_limit_bytes"] = wrapped(backend.buffer_limit_bytes)
    policies.edit_backend(draft, backend)
    return encode(CLUSTER, backend.name, serialized(cluster.CLUSTER, draft))


class _Parts(NamedTuple):
    listener: Encoded
    routes: Encoded | None


@derivation
def outbound_listener(ctx: Context, outbound: Outbound) -> Encoded:
    """The listener of a destination."""
    return _parts(ctx, outbound).listener


@derivation
def outbound_routes(ctx: Context, outbound: Outbound) -> Encoded | None:
    """The routes of a destination, for a proxy that gets them apart from its listener."""
    return _parts(ctx, outbound).routes


@derivation
def _parts(ctx: Context, outbound: Outbound) -> _Parts:
    """Listener and routes are drafted as one, so that policies edit them the same either way."""
    draft = hcm.listener(outbound.name, outbound.address, outbound.port, "OUTBOUND")
    if not outbound.bind:
        draft["bind_to_port"] = wrapped(False)
    if outbound.tags:
        hcm.set_tags(draft, outbound.tags)
    filters = [_filter(outbound)]
    if outbound.kafka:
        filters.insert(0, hcm.kafka(outbound.service))
    draft["filter_chains"] = [{"filters": filters}]
    policies.edit_outbound_listener(draft, outbound)
    routes = None
    if outbound.dynamic_routes and outbound.http:
        taken = hcm.take_routes(draft, outbound.name)
        routes = encode(ROUTE, outbound.name, serialized(hcm.ROUTES, taken))
    return _Parts(encode(LISTENER, outbound.name, serialized(hcm.LISTENER, draft)), routes)


def _filter(outbound: Outbound) -> Draft:
    if not outbound.http:
        return _tcp(outbound)
    drafts = []
    for route, draft in route_drafts(outbound.routes):
        if outbound.external and "route" in draft:
            draft["route"].setdefault("auto_host_rewrite", wrapped(True))
        policies.edit_route(draft, route, outbound)
        drafts.append(draft)
    routes = hcm.route_config(outbound.route_config, outbound.virtual_host, drafts)
    manager = hcm.http_manager(outbound.service, routes, grpc=outbound.protocol == "grpc")
    manager["typed_config"] |= {
        "common_http_protocol_options": {"idle_timeout": seconds(0)},
        "request_headers_timeout": seconds(0),
        "normalize_path": wrapped(True),
    }
    return manager


def _tcp(outbound: Outbound) -> Draft:
    splits = outbound.splits or outbound.routes[0].splits
    draft = hcm.tcp_proxy(outbound.service, splits[0].cluster, TCP_IDLE_S)
    if len(splits) > 1:
        hcm.split_tcp(draft, [(split.cluster, split.weight) for split in splits])
    return draft
