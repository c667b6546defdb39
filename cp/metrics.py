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
from raftstore.port import Status

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
        self.http_inflight = self._gauge("api_server_http_requests_inflight", "Requests being answered.")
        self.store = self._histogram("store", "Time of one operation on the replicated log.", ["operation"])
        self.store_conflicts = Counter(
            "store_conflicts", "Writes decided again because another came first.", registry=self.registry
        )
        self.resources_count = Gauge(
            "resources_count", "Resources in the view, by kind.", ["resource_type"], registry=self.registry
        )
        self.view_index = self._gauge("view_index", "Log index of this worker's view.")
        self.leader = self._gauge("leader", "Whether this replica leads.")
        self.has_quorum = self._gauge("raft_has_quorum", "Whether this replica reaches a majority.")
        self.term = self._gauge("raft_term", "Raft's term.")
        self.applied_index = self._gauge("raft_applied_index", "Log index applied by this replica's store.")
        self.feed_reconnects = Counter(
            "feed_reconnects", "Times this worker lost the feed of events.", registry=self.registry
        )
        self.watches = self._gauge("api_server_watches", "Open watch streams.")
        self.watches_now = 0
        info = Gauge(
            "cp_info", "This control plane.", ["product", "version", "based_on"], registry=self.registry
        )
        info.labels(PRODUCT, version(), BASED_ON_KUMA).set(1)

    def _histogram(self, name: str, text: str, labels: list[str]) -> Histogram:
        return Histogram(name, text, labels, buckets=_SECONDS, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def observe_replica(self, status: Status | None, view_index: int) -> None:
        """Note where this replica stands; None: its store does not answer."""
        self.view_index.set(view_index)
        self.leader.set(status is not None and status.leader == status.id)
        self.has_quorum.set(status is not None and status.has_quorum)
        if status is not None:
            self.term.set(status.term)
            self.applied_index.set(status.applied_index)

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
