"""Resources that telemetry policies add to a proxy: clusters of collectors, listeners for metrics."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xds.config import cluster, hcm
from xds.config.backends import Item
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, named, serialized, socket_address, wrapped
from xds.config.policies import accesslog, trace
from xds.config.policies.collectors import otel_cluster_name, otel_collector
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, LISTENER, Encoded

METRIC = "MeshMetric"
PROMETHEUS_PATH = "/stats/prometheus"


@dataclass(frozen=True, slots=True)
class Collector:
    """A cluster that leads to a collector. breakers: whether it has the usual thresholds."""

    name: str
    host: str
    port: int
    http2: bool = False
    breakers: bool = True
    ipv6: bool = True


@derivation
def collector_cluster(ctx: Context, collector: Collector) -> Encoded:
    """The cluster of a collector, by name or address."""
    draft = cluster.static(collector.name, collector.host, collector.port)
    if not _is_address(collector.host):
        draft["type"] = "STRICT_DNS"
        draft["dns_lookup_family"] = "AUTO" if collector.ipv6 else "V4_ONLY"
    if not collector.breakers:
        del draft["circuit_breakers"]
    if collector.http2:
        cluster.set_http_version(draft, http2=True)
    return encode(CLUSTER, collector.name, serialized(cluster.CLUSTER, draft))


def _is_address(host: str) -> bool:
    if host.startswith("/"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def collector_item(collector: Collector) -> Item:
    """The cluster of a collector as part of a plan."""
    return Item(CLUSTER, collector.name, collector_cluster.query(collector))


def trace_items(proxy: KindConfs, *, ipv6: bool) -> Iterator[Item]:
    """The cluster that spans go to."""
    conf = conf_of(trace.KIND, proxy)
    for backend in (conf.backends or ()) if conf is not None else ():
        name, found = trace.collector_of(backend)
        http2 = backend.type == "OpenTelemetry"
        yield collector_item(Collector(name, found.host, found.port, http2, ipv6=ipv6))


def log_items(all_confs: Iterable[KindConfs], *, ipv6: bool) -> Iterator[Item]:
    """The clusters that log records go to."""
    for confs in all_confs:
        conf = conf_of(accesslog.KIND, confs)
        for backend in (conf.backends or ()) if conf is not None else ():
            if backend.type == "OpenTelemetry":
                endpoint = backend.open_telemetry.endpoint
                name, found = otel_cluster_name("accesslog", endpoint), otel_collector(endpoint)
                yield collector_item(Collector(name, found.host, found.port, True, ipv6=ipv6))


# --- metrics -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MetricListener:
    """A listener of metrics: a socket that leads to a collector, or a port that Prometheus scrapes.

    rewrite: the path on the other side, "" for the same. match: which path is served, "/" for all.
    """

    name: str
    address: str
    port: int
    target: str
    match: str = "/"
    rewrite: str = ""
    grpc: bool = False


@derivation
def metric_listener(ctx: Context, metrics: MetricListener) -> Encoded:
    """A listener of metrics."""
    route: Draft = {"match": {"prefix": metrics.match}, "route": {"cluster": metrics.target}}
    if metrics.rewrite:
        route["match"] = {"path": metrics.match}
        route["route"]["prefix_rewrite"] = metrics.rewrite
    manager = hcm.http_manager(metrics.name, hcm.route_config("", metrics.name, [route]))
    manager["typed_config"]["internal_address_config"] = hcm.networks(hcm.LOOPBACK)
    if metrics.grpc:
        stats = named(hcm.GRPC_STATS_FILTER, hcm.GRPC_STATS, {"emit_filter_state": True})
        hcm.prepend_http_filter(manager["typed_config"], stats)
    draft: Draft = {
        "name": metrics.name,
        "address": socket_address(metrics.address, metrics.port),
        "filter_chains": [{"filters": [manager]}],
    }
    if not metrics.grpc:
        draft["traffic_direction"] = "INBOUND"
        draft["enable_reuse_port"] = wrapped(True)
    return encode(LISTENER, metrics.name, serialized(hcm.LISTENER, draft))


def metric_items(
    proxy: KindConfs, address: str, work_dir: str, admin_cluster: str, *, ipv6: bool
) -> Iterator[Item]:
    """Listeners for Prometheus, and sockets through which the runner pushes to collectors."""
    conf = conf_of(METRIC, proxy)
    for backend in (conf.backends or ()) if conf is not None else ():
        if backend.type == "OpenTelemetry":
            found = otel_collector(backend.open_telemetry.endpoint)
            name = f"_kuma:metrics:opentelemetry:{found.name}"
            socket = f"{work_dir}/kuma-otel-{found.name}.sock"
            yield collector_item(Collector(name, found.host, found.port, True, breakers=False, ipv6=ipv6))
            yield _listener_item(MetricListener(name, socket, 0, name, grpc=True))
        elif admin_cluster:
            prometheus = backend.prometheus
            name = f"_kuma:metrics:prometheus:{prometheus.client_id or 'default-backend'}"
            listener = MetricListener(
                name, address, prometheus.port, admin_cluster, prometheus.path, PROMETHEUS_PATH
            )
            yield _listener_item(listener)


def _listener_item(metrics: MetricListener) -> Item:
    return Item(LISTENER, metrics.name, metric_listener.query(metrics))
