"""MeshMetric: ports that Prometheus scrapes, and sockets through which the runner pushes to collectors.

Kuma's runner merges the metrics of Envoy and of applications; scrapes go through Envoy to the socket where it
serves them. A runner that does not do so says it (`feature-envoy-metrics`); then Envoy's own are scraped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xds.config import cluster, hcm, tls
from xds.config.backends import Item
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, named, serialized, socket_address, wrapped
from xds.config.facts import Client, DataplaneFacts
from xds.config.policies.collectors import otel_collector
from xds.config.telemetry import Collector, collector_item
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, LISTENER, Encoded

KIND = "MeshMetric"
ENVOY_PATH = "/stats/prometheus"
RUNNER_PATH = "/meshmetric"
DEFAULT_BACKEND = "default-backend"


@dataclass(frozen=True, slots=True)
class MetricListener:
    """A listener of metrics: a socket that leads to a collector, or a port that Prometheus scrapes.

    rewrite: the path on the other side, "" for the same. match: which path is served, "/" for all.
    certificate: files of the one to serve with. security: let in members of the mesh only.
    """

    name: str
    address: str
    port: int
    match: str = "/"
    rewrite: str = ""
    grpc: bool = False
    certificate: tuple[str, str] = ("", "")
    security: tls.Security | None = None


@derivation
def metric_listener(ctx: Context, metrics: MetricListener) -> Encoded:
    """A listener of metrics, in front of the cluster of the same name."""
    route: Draft = {"match": {"prefix": metrics.match}, "route": {"cluster": metrics.name}}
    if metrics.rewrite:
        route["match"] = {"path": metrics.match}
        route["route"]["prefix_rewrite"] = metrics.rewrite
    manager = hcm.http_manager(metrics.name, hcm.route_config("", metrics.name, [route]))
    manager["typed_config"]["internal_address_config"] = hcm.networks(hcm.LOOPBACK)
    if metrics.grpc:
        stats = named(hcm.GRPC_STATS_FILTER, hcm.GRPC_STATS, {"emit_filter_state": True})
        hcm.prepend_http_filter(manager["typed_config"], stats)
    chain: Draft = {"filters": [manager]}
    if metrics.security is not None:
        chain["transport_socket"] = tls.downstream_socket(metrics.security)
    elif all(metrics.certificate):
        chain["transport_socket"] = tls.file_socket(*metrics.certificate)
    draft: Draft = {
        "name": metrics.name,
        "address": socket_address(metrics.address, metrics.port),
        "filter_chains": [chain],
    }
    if not metrics.grpc:
        draft["traffic_direction"] = "INBOUND"
        draft["enable_reuse_port"] = wrapped(True)
    return encode(LISTENER, metrics.name, serialized(hcm.LISTENER, draft))


@derivation
def metric_cluster(ctx: Context, name: str, address: str, port: int) -> Encoded:
    """Where metrics are: a socket, or Envoy's admin interface."""
    return encode(CLUSTER, name, serialized(cluster.CLUSTER, cluster.static(name, address, port)))


def metric_items(
    proxy: KindConfs, facts: DataplaneFacts, client: Client, security: tls.Security | None
) -> Iterator[Item]:
    """Everything that a proxy's MeshMetric asks of Envoy."""
    conf = conf_of(KIND, proxy)
    for backend in (conf.backends or ()) if conf is not None else ():
        if backend.type == "OpenTelemetry":
            yield from _pushed(backend.open_telemetry.endpoint, client)
        else:
            yield from _scraped(backend.prometheus, facts, client, security)


def _pushed(endpoint: str, client: Client) -> Iterator[Item]:
    found = otel_collector(endpoint)
    name = f"{'system_meshmetric_otel_' if client.unified else '_kuma:metrics:opentelemetry:'}{found.name}"
    socket = f"{client.work_dir}/kuma-otel-{found.name}.sock"
    http2 = not found.over_http
    yield collector_item(Collector(name, found.host, found.port, http2, breakers=False, ipv6=client.ipv6))
    yield _listener_item(MetricListener(name, socket, 0, grpc=True))


def _scraped(
    backend: Any, facts: DataplaneFacts, client: Client, security: tls.Security | None
) -> Iterator[Item]:
    start = "system_meshmetric_prometheus_" if client.unified else "_kuma:metrics:prometheus:"
    name = f"{start}{backend.client_id or DEFAULT_BACKEND}"
    where = _envoy(facts, client) if client.plain_metrics else _runner(facts, client)
    if where is None:
        return
    mode = backend.tls.mode if backend.tls is not None else "Disabled"
    listener = MetricListener(
        name,
        facts.address,
        backend.port,
        backend.path,
        ENVOY_PATH if client.plain_metrics else RUNNER_PATH,
        certificate=client.metrics_certificate if mode == "ProvidedTLS" else ("", ""),
        security=security if mode == "ActiveMTLSBackend" else None,
    )
    yield Item(CLUSTER, name, metric_cluster.query(name, *where))
    yield _listener_item(listener)


def _envoy(facts: DataplaneFacts, client: Client) -> tuple[str, int] | None:
    """Where Envoy's admin interface is; None without one."""
    port = facts.admin_port or client.admin_port
    if client.admin_socket:
        return client.admin_socket, 0
    return (client.admin_address, port) if port else None


def _runner(facts: DataplaneFacts, client: Client) -> tuple[str, int]:
    """Where the runner serves what it merged."""
    return client.metrics_socket or client.socket(f"kuma-mh-{facts.name}-{facts.mesh}"), 0


def _listener_item(metrics: MetricListener) -> Item:
    return Item(LISTENER, metrics.name, metric_listener.query(metrics))
