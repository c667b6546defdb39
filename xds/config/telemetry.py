"""Clusters of collectors, which policies of logs and traces add to a proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from xds.config import cluster
from xds.config.backends import Item
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import serialized
from xds.config.facts import Pairs
from xds.config.policies import accesslog, trace
from xds.config.policies.collectors import otel_collector
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import CLUSTER, Encoded


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


def trace_items(proxy: KindConfs, *, ipv6: bool, unified: bool) -> Iterator[Item]:
    """The cluster that spans go to."""
    conf = conf_of(trace.KIND, proxy)
    for backend in (conf.backends or ()) if conf is not None else ():
        name, found = trace.collector_of(backend, unified=unified)
        http2 = backend.type == "OpenTelemetry" and not found.over_http
        yield collector_item(Collector(name, found.host, found.port, http2, ipv6=ipv6))


def log_clusters(all_confs: Iterable[KindConfs], *, unified: bool) -> Pairs:
    """(endpoint, name of its cluster) of each collector of log records: numbered, or (new) by their addresses."""
    found: dict[str, None] = {}
    for confs in all_confs:
        for _, text in (pair for pair in confs if pair[0] == accesslog.KIND):
            backends = conf_of(accesslog.KIND, ((accesslog.KIND, text),)).backends or ()
            found.update({b.open_telemetry.endpoint: None for b in backends if b.type == "OpenTelemetry"})
    if unified:
        return tuple((each, f"system_meshaccesslog_otel_{otel_collector(each).name}") for each in found)
    return tuple((endpoint, f"meshaccesslog:opentelemetry:{n}") for n, endpoint in enumerate(found))


def log_items(clusters: Pairs, *, ipv6: bool) -> Iterator[Item]:
    """The clusters that log records go to."""
    for endpoint, name in clusters:
        found = otel_collector(endpoint)
        yield collector_item(Collector(name, found.host, found.port, not found.over_http, ipv6=ipv6))
