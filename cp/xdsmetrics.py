"""Metrics of the streams of proxies, under Kuma's names, and which proxies refuse what.

Kuma's counters have no `_total` at their end, which the client library would add; so they are exposed as they
are, without a type. Rates of them work as ever.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterator

from prometheus_client import Histogram
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cp.metrics import Metrics
from cp.streams import Connections
from xds.effects import Acked, Effect, Nacked, Send
from xds.stream import Stream

# Milliseconds, as Kuma counts them: from a warm cluster to Envoy's patience with endpoints.
_DELIVERY_MS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 15_000)

# One series for each proxy and type of which something is refused. More are no news but a flood.
REFUSING_SERIES_MAX = 1_000


class XdsMetrics(Collector):
    """Follows every stream of one worker (xds.stream.Observer)."""

    def __init__(self, metrics: Metrics, connections: Connections) -> None:
        self._connections = connections
        self._sent: Count[str] = Count()
        self._answered: Count[tuple[str, str]] = Count()
        self._delivery = Histogram(
            "xds_delivery",
            "Milliseconds from a response to its acknowledgement.",
            buckets=_DELIVERY_MS,
            registry=metrics.registry,
        )
        metrics.registry.register(self)

    def stream_opened(self, stream: Stream) -> None:
        """Streams are counted when they are asked for."""

    def stream_effect(self, stream: Stream, effect: Effect) -> None:
        match effect:
            case Send(type_url):
                self._sent[type_url] += 1
            case Acked(type_url):
                self._answered[type_url, "ACK"] += 1
                self._delivery.observe(effect.elapsed * 1e3)
            case Nacked(type_url):
                self._answered[type_url, "NACK"] += 1

    def stream_closed(self, stream: Stream) -> None:
        """Streams are counted when they are asked for."""

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("xds_streams_active", "Streams of proxies.", value=len(self._connections))
        sent = Metric("xds_responses_sent", "Responses sent to proxies.", "unknown")
        for type_url, count in sorted(self._sent.items()):
            sent.add_sample(sent.name, {"type_url": type_url}, count)
        yield sent
        answered = Metric("xds_requests_received", "Responses acknowledged and rejected.", "unknown")
        for (type_url, confirmation), count in sorted(self._answered.items()):
            answered.add_sample(answered.name, {"type_url": type_url, "confirmation": confirmation}, count)
        yield answered
        yield self._refused()

    def _refused(self) -> Metric:
        family = GaugeMetricFamily(
            "xds_resources_rejected",
            "Resources that a proxy refuses at present; proxies that refuse nothing are not listed.",
            labels=["mesh", "dataplane", "type_url"],
        )
        for connection in self._connections:
            node = connection.stream.node
            if not connection.refused or node is None:
                continue
            mesh, _, name = node.id.partition(".")
            for type_url, status in sorted(connection.stream.status.types.items()):
                if status.rejections and len(family.samples) < REFUSING_SERIES_MAX:
                    family.add_metric([mesh, name, type_url], len(status.rejections))
        return family
