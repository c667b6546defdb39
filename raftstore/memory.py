"""The log in memory: a cluster of one that forgets everything when it ends.

The same state machine, codec and feed as a replica's, without consensus and disk. What
it does is what a replica does; only nothing can get lost on the way. Used by the tests of
whatever stands on a Store.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from raftstore import limits
from raftstore.codec import check_txn, join_batch
from raftstore.errors import StoreError, Unavailable
from raftstore.feed import Feed
from raftstore.machine import StateMachine
from raftstore.port import Member, Status
from raftstore.state import State
from raftstore.types import FeedItem, Outcome, Txn


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000


class MemoryStore:
    """A Store (see port.py).

    clock_ms: Unix milliseconds; tests pass their own. `refuse`: when set, every submit
    and read_index raises it, as during the loss of a quorum. `events` is the feed's buffer,
    `state` what is applied; a real Store offers neither.
    """

    def __init__(
        self,
        *,
        node_id: str = "memory",
        cluster_id: str = "memory",
        clock_ms: Callable[[], int] = _unix_ms,
        bookmark_s: float = limits.FEED_BOOKMARK_S,
    ) -> None:
        self.node_id = node_id
        self.cluster_id = cluster_id
        self.refuse: StoreError | None = None
        self.machine = StateMachine()
        self.events = Feed()
        self._clock_ms = clock_ms
        self._bookmark_s = bookmark_s
        self._closed = False

    @property
    def state(self) -> State:
        return self.machine.state

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        """See port.Store.submit. One transaction, one entry."""
        encoded = check_txn(txn)
        await self._reach()
        now_ms = self._clock_ms()
        applied = self.machine.apply(self.state.index + 1, 1, join_batch(now_ms, (encoded,)))
        self.events.publish(applied.index, applied.events, self.state, now_ms)
        return applied.outcomes[0]

    async def read_index(self, *, timeout_s: float = 5.0) -> int:
        await self._reach()
        return self.state.index

    def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        return self.events.subscribe(after, bookmark_s=self._bookmark_s)

    async def status(self) -> Status:
        index = self.state.index
        ready = not self._closed and self.refuse is None
        return Status(
            id=self.node_id,
            cluster_id=self.cluster_id,
            role="leader" if ready else "unknown",
            leader=self.node_id if ready else None,
            term=1,
            commit_index=index,
            applied_index=index,
            durable_index=0,
            has_quorum=ready,
            members=(Member(self.node_id, "", "leader", True, index),),
        )

    async def close(self) -> None:
        self._closed = True
        self.events.close()

    async def _reach(self) -> None:
        """Where a real store waits for others: let other tasks run, as it would."""
        await asyncio.sleep(0)
        if self._closed:
            raise Unavailable("the store is closed")
        if self.refuse is not None:
            raise self.refuse
