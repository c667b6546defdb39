"""Metrics of streams: Kuma's names without `_total`, and series only for proxies that refuse something."""

from __future__ import annotations

from cp import xdsmetrics
from cp.metrics import Metrics
from cp.streams import Connections
from cp.xdsmetrics import XdsMetrics
from tests.cp.test_streams import ACKED, NACKED, opened
from xds.effects import Send
from xds.status import Rejection
from xds.types import CLUSTER, LISTENER


async def test_counters() -> None:
    metrics, connections = Metrics(), Connections()
    observer = XdsMetrics(metrics, connections)
    (web,) = opened(connections, "web")
    for effect in (Send(CLUSTER, "1", ("a",), (), b""), ACKED, Send(CLUSTER, "2", ("a",), (), b""), NACKED):
        observer.stream_effect(web, effect)
    text = metrics.expose().decode()
    assert "xds_streams_active 1.0" in text
    assert f'xds_responses_sent{{type_url="{CLUSTER}"}} 2.0' in text
    for confirmation in ("ACK", "NACK"):
        assert f'xds_requests_received{{confirmation="{confirmation}",type_url="{CLUSTER}"}} 1.0' in text
    assert "xds_delivery_count 1.0" in text
    assert 'xds_delivery_bucket{le="100.0"} 1.0' in text


async def test_only_those_who_refuse_have_series() -> None:
    metrics, connections = Metrics(), Connections()
    XdsMetrics(metrics, connections)
    bad, _ = opened(connections, "bad", "good")
    bad.status.of(LISTENER).rejections["in"] = Rejection("v", "bad")
    connections.stream_effect(bad, NACKED)
    series = [
        line for line in metrics.expose().decode().splitlines() if line.startswith("xds_resources_rejected{")
    ]
    assert series == [f'xds_resources_rejected{{dataplane="bad",mesh="default",type_url="{LISTENER}"}} 1.0']


async def test_a_flood_of_refusals_is_cut_off() -> None:
    metrics, connections = Metrics(), Connections()
    XdsMetrics(metrics, connections)
    for each in opened(connections, *map(str, range(xdsmetrics.REFUSING_SERIES_MAX + 5))):
        each.status.of(LISTENER).rejections["in"] = Rejection("v", "bad")
        connections.stream_effect(each, NACKED)
    text = metrics.expose().decode()
    assert text.count("xds_resources_rejected{") == xdsmetrics.REFUSING_SERIES_MAX
