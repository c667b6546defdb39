"""Listeners and their filters: the HTTP connection manager, tcp_proxy, and what surrounds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xds.config.draft import ADS, Draft, Fields, Typed, named, seconds, socket_address, stat_name, wrapped
from xds.config.facts import Pairs

LISTENER = "envoy.config.listener.v3.Listener"
ROUTES = "envoy.config.route.v3.RouteConfiguration"
HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
HCM_FILTER = "envoy.filters.network.http_connection_manager"
TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
TCP_PROXY_FILTER = "envoy.filters.network.tcp_proxy"
KAFKA = "envoy.extensions.filters.network.kafka_broker.v3.KafkaBroker"
KAFKA_FILTER = "envoy.filters.network.kafka_broker"
ROUTER = "envoy.extensions.filters.http.router.v3.Router"
ROUTER_FILTER = "envoy.filters.http.router"
TLS_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
TLS_INSPECTOR_FILTER = "envoy.filters.listener.tls_inspector"
GRPC_STATS = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"
GRPC_STATS_FILTER = "envoy.filters.http.grpc_stats"

# Private networks: whoever connects from them is internal to Envoy's header rules.
PRIVATE_NETWORKS = (("10.0.0.0", 8), ("192.168.0.0", 16), ("172.16.0.0", 12), ("127.0.0.1", 32))
LOOPBACK = (("127.0.0.1", 32),)


def listener(name: str, address: str, port: int, direction: str) -> Draft:
    """A listener without filter chains. direction: INBOUND or OUTBOUND."""
    return {
        "name": name,
        "address": socket_address(address, port),
        "traffic_direction": direction,
        "filter_chains": [],
    }


def set_tags(draft: Draft, tags: Pairs | dict[str, str]) -> None:
    """Put tags into the metadata, where access logs and humans find them."""
    draft["metadata"] = {"filter_metadata": {"io.kuma.tags": Fields(dict(tags))}}


def networks(ranges: tuple[tuple[str, int], ...]) -> Draft:
    """An InternalAddressConfig."""
    return {"cidr_ranges": [{"address_prefix": ip, "prefix_len": wrapped(bits)} for ip, bits in ranges]}


def http_manager(stat_prefix: str, route_config: Draft, *, grpc: bool = False) -> Draft:
    """An HTTP connection manager with its routes inside."""
    filters = [named(ROUTER_FILTER, ROUTER)]
    if grpc:
        stats = {"emit_filter_state": True, "stats_for_all_methods": wrapped(True)}
        filters.insert(0, named(GRPC_STATS_FILTER, GRPC_STATS, stats))
    return named(
        HCM_FILTER,
        HCM,
        {
            "stat_prefix": stat_name(stat_prefix),
            "http_filters": filters,
            "route_config": route_config,
            "internal_address_config": networks(PRIVATE_NETWORKS),
        },
    )


def route_config(name: str, virtual_host: str, routes: list[Draft]) -> Draft:
    """Routes for any host. Clusters are not checked: they may arrive a moment later."""
    host = {"name": virtual_host, "domains": ["*"], "routes": routes}
    draft: Draft = {"validate_clusters": wrapped(False), "virtual_hosts": [host]}
    return draft | {"name": name} if name else draft


def tcp_proxy(stat_prefix: str, cluster: str, idle_s: int | None = None) -> Draft:
    """A filter that carries bytes to one cluster."""
    fields: Draft = {"stat_prefix": stat_name(stat_prefix), "cluster": cluster}
    if idle_s is not None:
        fields["idle_timeout"] = seconds(idle_s)
    return named(TCP_PROXY_FILTER, TCP_PROXY, fields)


def kafka(stat_prefix: str) -> Draft:
    """A filter that counts what Kafka's clients and brokers say, and passes it on."""
    return named(KAFKA_FILTER, KAFKA, {"stat_prefix": stat_name(stat_prefix)})


def split_tcp(proxy: Draft, clusters: list[tuple[str, int]]) -> None:
    """Let a TCP proxy share its connections among several clusters, by weight."""
    config = proxy["typed_config"]
    config.pop("cluster", None)
    shares = [{"name": name, "weight": weight} for name, weight in clusters]
    config["weighted_clusters"] = {"clusters": shares}


def add_tls_inspector(draft: Draft) -> None:
    """Let filter chains be chosen by what the TLS handshake says. Idempotent."""
    filters = draft.setdefault("listener_filters", [])
    if not any(found["name"] == TLS_INSPECTOR_FILTER for found in filters):
        filters.append(named(TLS_INSPECTOR_FILTER, TLS_INSPECTOR))


# --- editing -------------------------------------------------------------------------------------


def filters_of(draft: Draft, name: str) -> Iterator[Draft]:
    """The configurations of all network filters called `name` in a listener, to be edited."""
    for chain in draft["filter_chains"]:
        for found in chain["filters"]:
            if found["name"] == name:
                config: Typed = found["typed_config"]
                yield config


def managers(draft: Draft) -> Iterator[Draft]:
    """The HTTP connection managers of a listener."""
    return filters_of(draft, HCM_FILTER)


def tcp_proxies(draft: Draft) -> Iterator[Draft]:
    """The TCP proxies of a listener."""
    return filters_of(draft, TCP_PROXY_FILTER)


def routes_of(manager: Draft) -> Iterator[Draft]:
    """The routes inside an HTTP connection manager."""
    for host in manager.get("route_config", {}).get("virtual_hosts", ()):
        yield from host["routes"]


def take_routes(draft: Draft, name: str) -> Draft:
    """Take the routes out of a listener with one HTTP connection manager, and let it ask for them by name."""
    manager = next(managers(draft))
    routes: Draft = manager.pop("route_config") | {"name": name}
    manager["rds"] = {"config_source": ADS, "route_config_name": name}
    return routes


def insert_http_filter(manager: Draft, added: Draft) -> None:
    """Put an HTTP filter right before the router, which has to be last."""
    filters: list[Any] = manager["http_filters"]
    filters.insert(len(filters) - 1, added)


def prepend_http_filter(manager: Draft, added: Draft) -> None:
    """Put an HTTP filter before all others."""
    manager["http_filters"].insert(0, added)
