"""What came of each stream, written into the insight of its proxy: counters, and what is refused.

    stream --ACK, NACK--> Connections --now and then--> Reporter --some proxies a transaction--> log

Counters move with every change of a mesh, for each of its proxies. To write them each time would fill the
log, and the history of the resources that people wrote, with numbers. So they are written at intervals, many
proxies in one transaction, and at most REPORTS_PER_FLUSH_MAX of them; a proxy that begins or stops to refuse
something goes first, and does not wait for the interval.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cp.ca.issuer import Issued
from cp.live import LiveView
from cp.presence import certified, reported, stream_status
from cp.streams import Connections
from mesh.codec import decode, encode_value, rfc3339, to_document
from raftstore.errors import StoreError
from raftstore.port import Store
from raftstore.types import Exists, Guard, Key, Put, Txn, VersionIs

log = logging.getLogger(__name__)

# Proxies whose insight one flush writes: at one flush in ten seconds and 1 KB each, 50 KB/s of the log.
REPORTS_PER_FLUSH_MAX = 500
REPORTS_PER_TXN = 50
# Refusals are written at once, but a mesh whose proxies all refuse something is one flush a second.
URGENT_INTERVAL_S = 1.0
INTERVAL_S_MIN = 0.1
APPLY_WAIT_S = 5.0


class Reported(NamedTuple):
    """Whose insight a stream's status goes to. key: of the proxy; subscription: that of the stream."""

    key: Key
    insight_key: Key
    subscription: str


Whose = Callable[[str], Reported | None]
CertificateOf = Callable[[str, str], Issued | None]
"""What a proxy (its mesh and name) was issued here."""


class Reporter:
    """Writes the statuses of one worker's streams. whose: tells by a node's id where its status goes.

    issued: what certificate a proxy has.
    """

    def __init__(
        self,
        store: Store,
        live: LiveView,
        connections: Connections,
        whose: Whose,
        interval_s: float,
        issued: CertificateOf = lambda mesh, dataplane: None,
    ) -> None:
        self._store = store
        self._live = live
        self._connections = connections
        self._whose = whose
        self._issued = issued
        self._interval_s = max(interval_s, INTERVAL_S_MIN)

    async def run(self) -> None:
        """Write until cancelled."""
        urgent = self._connections.urgent
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_s):
                    await urgent.wait()
            try:
                await self.flush()
            except Exception:
                log.exception("writing the statuses of proxies failed")
            await asyncio.sleep(min(URGENT_INTERVAL_S, self._interval_s))

    async def flush(self) -> None:
        """Write what changed; what cannot be written is tried again the next time."""
        taken = self._connections.take_changed(REPORTS_PER_FLUSH_MAX)
        for batch in _batches(taken, REPORTS_PER_TXN):
            try:
                if not await self._write(batch):
                    for node_id in batch:  # one of them connected or left meanwhile
                        await self._write((node_id,))
            except StoreError as error:
                log.debug("statuses of %d proxies are not written: %s", len(batch), error)
                self._connections.put_back(batch)
                return

    async def _write(self, node_ids: tuple[str, ...]) -> bool:
        """One transaction; whether it was applied, or had nothing to say."""
        guards: list[Guard] = []
        writes: list[Put] = []
        for found_guards, write in filter(None, map(self._one, node_ids)):
            guards += found_guards
            writes.append(write)
        if not writes:
            return True
        txn = Txn(tuple(writes), tuple(guards), actor="raftmesh", cause="proxies acknowledged")
        outcome = await self._store.submit(txn)
        if not outcome.applied:
            await self._live.wait_for(outcome.index, APPLY_WAIT_S)
            self._connections.put_back(node_ids)
        return outcome.applied

    def _one(self, node_id: str) -> tuple[list[Guard], Put] | None:
        whose, connection = self._whose(node_id), self._connections.of_node(node_id)
        if whose is None or connection is None:
            return None
        stored = self._live.view.get(*whose.insight_key)
        if stored is None:
            self._connections.put_back((node_id,))  # its connection is being written
            return None
        document: dict[str, Any] = to_document(stored)
        status = stream_status(connection.stream.status, rfc3339(int(time.time() * 1000)))
        changed: dict[str, Any] = {}
        subscriptions = reported(document, subscription=whose.subscription, status=status)
        if subscriptions is not None:
            changed["subscriptions"] = subscriptions
        if whose.key.kind == "Dataplane":
            changed |= self._certificate(whose.key, document.get("mTLS"))
        if not changed:
            return None
        resource = decode({**document, **changed})
        guards: list[Guard] = [VersionIs(whose.insight_key, stored.version), Exists(whose.key)]
        return guards, Put(whose.insight_key, encode_value(resource))

    def _certificate(self, key: Key, told: dict[str, Any] | None) -> dict[str, Any]:
        """What is to be told of a proxy's certificate, if anything is new."""
        resource = self._live.view.get("Mesh", "", key.mesh)
        backends = (
            resource.spec.mtls.backends if resource is not None and resource.spec.mtls is not None else ()
        )
        if resource is None or resource.spec.enabled_ca is None:
            return {} if told is None else {"mTLS": None}
        issued = self._issued(key.mesh, key.name)
        if issued is None:
            return {}  # it comes, or was issued elsewhere
        times = {"lastCertificateRegeneration": issued.at_s, "certificateExpirationTime": issued.expires_s}
        document = {name: rfc3339(int(at_s * 1000)) for name, at_s in times.items()}
        found = certified(
            told, {"issuedBackend": issued.backend, **document}, [each.name for each in backends]
        )
        return {} if found is None else {"mTLS": found}


def _batches(items: list[str], size: int) -> Iterator[tuple[str, ...]]:
    """Groups of at most `size`."""
    for at in range(0, len(items), size):
        yield tuple(items[at : at + size])
