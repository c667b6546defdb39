"""The debug mode of derivation: every so often, one connected proxy is derived from scratch and compared.

In turn, each proxy of this worker; in a thread, so that the loop only copies what the proxy has. A difference is
a bug of raftmesh: it is logged with the names of the resources, and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from prometheus_client import Counter

from cp.metrics import Metrics
from cp.streams import Connection, Connections
from xds.config.audit import Difference, audit, held
from xds.config.source import Source
from xds.source import NodeInfo

log = logging.getLogger(__name__)

# A worker that is busy with changes is not settled; look again soon, it will be.
UNSETTLED_RETRY_S = 0.05
NAMES_LOGGED_MAX = 20


class Auditor:
    """Checks the proxies of one worker, one every `interval_s`."""

    def __init__(
        self, source: Source, connections: Connections, zone: str, metrics: Metrics, interval_s: float
    ) -> None:
        self._source = source
        self._connections = connections
        self._zone = zone
        self._interval_s = interval_s
        self._turns: Iterator[Connection] = iter(())
        registry = metrics.registry
        self._checks = Counter(
            "xds_consistency_checks", "Proxies derived from scratch to compare.", registry=registry
        )
        self._differences = Counter(
            "xds_consistency_differences", "Resources that were not what they should be.", registry=registry
        )

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            await self.check_next()

    async def check_next(self) -> list[Difference]:
        """Check the proxy whose turn it is; what differs."""
        connection = self._next()
        if connection is None or connection.stream.node is None:
            return []
        while not self._source.settled:
            await asyncio.sleep(UNSETTLED_RETRY_S)
        snapshot = connection.stream.snapshot()
        if snapshot is None:
            return []
        node, view, have = connection.stream.node, self._source.engine.view, held(snapshot)
        try:
            found = await asyncio.to_thread(audit, view, node, self._zone, have)
        except Exception:
            log.exception("the configuration of %s could not be checked", node.id)
            return []
        if found is None:
            return []
        self._checks.inc()
        self._differences.inc(len(found))
        if found:
            self._tell(node, found)
        return found

    def _next(self) -> Connection | None:
        connection = next(self._turns, None)
        if connection is None:
            self._turns = iter(self._connections)
            connection = next(self._turns, None)
        return connection

    def _tell(self, node: NodeInfo, found: list[Difference]) -> None:
        names = ", ".join(
            f"{each.type_url.rpartition('.')[2]} {each.name} ({each.what})"
            for each in found[:NAMES_LOGGED_MAX]
        )
        more = f" and {len(found) - NAMES_LOGGED_MAX} more" if len(found) > NAMES_LOGGED_MAX else ""
        log.error(
            "the configuration of %s is not what it should be, which is a bug of raftmesh: %s%s; "
            "a restart of this replica derives everything anew",
            node.id,
            names,
            more,
        )
