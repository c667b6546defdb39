"""Prometheus metrics, under Kuma's names where Kuma has the metric, so that dashboards keep working.

One registry per process, handed to whoever measures: nothing is global, so tests and an
embedded replica can hold several.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from cp.version import BASED_ON_KUMA, PRODUCT, version

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# From a read out of memory (below a millisecond) to a write that waits for an election.
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry if registry is not None else CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        labels = ["handler", "method", "code"]
        self.http_duration = self._histogram(
            "api_server_http_request_duration_seconds", "Time to answer a request of the HTTP API.", labels
        )
        self.http_inflight = Gauge(
            "api_server_http_requests_inflight", "Requests being answered.", registry=self.registry
        )
        self.store = self._histogram("store", "Time of one operation on the replicated log.", ["operation"])
        self.store_conflicts = Counter(
            "store_conflicts", "Writes decided again because another came first.", registry=self.registry
        )
        self.resources_count = Gauge(
            "resources_count", "Resources in the view, by kind.", ["resource_type"], registry=self.registry
        )
        self.view_index = Gauge("view_index", "Log index of this worker's view.", registry=self.registry)
        self.feed_reconnects = Counter(
            "feed_reconnects", "Times this worker lost the feed of events.", registry=self.registry
        )
        self.watches = Gauge("api_server_watches", "Open watch streams.", registry=self.registry)
        self.watches_now = 0
        info = Gauge(
            "cp_info", "This control plane.", ["product", "version", "based_on"], registry=self.registry
        )
        info.labels(PRODUCT, version(), BASED_ON_KUMA).set(1)

    def _histogram(self, name: str, text: str, labels: list[str]) -> Histogram:
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Counts one open watch."""
        self.watches_now += 1
        self.watches.set(self.watches_now)
        try:
            yield
        finally:
            self.watches_now -= 1
            self.watches.set(self.watches_now)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A value that is asked for when the metrics are."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def expose(self) -> bytes:
        """All metrics in the text format of Prometheus."""
        return generate_latest(self.registry)
