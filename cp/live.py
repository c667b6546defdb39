"""The live view: one worker's fold of the store's feed.

Every worker holds the whole mesh in memory and follows the log. A commit becomes visible
in one step, between two turns of the loop: the view is replaced, its index moves, and the
subscribers are told what changed. Nobody ever sees half a transaction.

At its start a worker asks for the oldest state that the store keeps, and replays what came since
into its history, so that a restart does not end time travel and the audit log. Nobody sees the old
states on the way: the view appears when it has caught up.

The feed may break (the store process restarts). Then it is taken up after the last index;
if that is compacted, a snapshot comes instead, and the difference to what was known is
told to the subscribers as one change, so that nobody has to start anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
from collections.abc import AsyncIterator, Callable

from cp.history import History
from cp.limits import CATCH_UP_RETRY_S, FEED_RETRY_S_MAX, FOLD_S_MAX, INDEX_WAIT_S
from cp.metrics import Metrics
from mesh.codec import decode_value
from mesh.errors import BadRequest
from mesh.resource import ResourceKey
from mesh.view import Change, Changes, View
from raftstore.errors import Compacted, StoreError
from raftstore.port import Store
from raftstore.types import (
    OLDEST,
    Bookmark,
    Commit,
    FeedItem,
    Op,
    Record,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
)

log = logging.getLogger(__name__)

# Called on the loop after each step. The commit is None for a snapshot.
Subscriber = Callable[[View, Changes, Commit | None], None]


class LiveView:
    """The view at the newest index known, and a window of the past."""

    def __init__(self, store: Store, metrics: Metrics | None = None) -> None:
        self._store = store
        self._metrics = metrics
        self._subscribers: list[Subscriber] = []
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._waits = 0
        self._moved = asyncio.Event()
        self._snapshot: list[Record] | None = None
        self._closed = False
        self._replayed: View | None = None  # while the past is replayed: how far that is
        self.view = View.empty()
        self.ready = False
        self.informed = False  # see catch_up
        self.history = History(self.view)

    @property
    def index(self) -> int:
        """The log index that the view stands at."""
        return self.view.index

    # --- reading --------------------------------------------------------------------------

    async def wait_for(self, index: int, timeout_s: float) -> bool:
        """Wait until the view reflects everything up to `index`; False when time ran out."""
        if self.index >= index and self.ready:
            return True
        reached = asyncio.get_running_loop().create_future()
        self._waits += 1
        heapq.heappush(self._waiting, (index, self._waits, reached))
        with contextlib.suppress(TimeoutError):
            # Not asyncio.wait_for: until Python 3.12 it loses a cancellation that meets the result.
            async with asyncio.timeout(timeout_s):
                await reached
        return reached.done() and not reached.cancelled()

    async def catch_up(self) -> None:
        """Wait until an empty view is known to be all there is.

        A replica that joins, or whose log was lost, begins with nothing, and so does a new cluster. Only the
        leader can tell these apart; a proxy that is told that there is nothing would drop what it has.
        """
        told = ""
        while self.index == 0:
            try:
                committed = await self._store.read_index(timeout_s=INDEX_WAIT_S)
            except StoreError as error:
                if str(error) != told:
                    told = str(error)
                    log.info("waiting for the log of the cluster: %s", told)
                await asyncio.sleep(CATCH_UP_RETRY_S)
                continue
            if await self.wait_for(committed, INDEX_WAIT_S):
                break
        self.informed = True

    def at(self, index: int) -> tuple[int, View]:
        """The state at `index` within the window, newest for what is still to come.

        Returns the index that the answer stands for. Raises Compacted.
        """
        if index >= self.index:
            return self.index, self.view
        return index, self.history.at(index)

    async def commits(self, after: int) -> AsyncIterator[Commit | Bookmark]:
        """Every commit later than `after`, until `close`; a Bookmark whenever it is up to date.

        Raises Compacted, at first or later, when the reader is behind the window.
        """
        while not self._closed:
            # The index now: what is folded while the reader is busy with these is for the next turn.
            moved, index = self._moved, self.index
            for commit in self.history.after(after):
                yield commit
            after = max(after, index)
            yield Bookmark(after)
            await moved.wait()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` after each change, on the loop; returns how to end that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def close(self) -> None:
        """End what `commits` serves: the worker stops."""
        self._closed = True
        self._moved.set()

    # --- following the feed ---------------------------------------------------------------

    async def run(self) -> None:
        """Follow the feed until cancelled, over any break of it."""
        pause_s = turned_at = 0.0
        while True:
            before = self.index
            try:
                async for item in self._store.feed(self._wanted()):
                    self.fold(item)
                    turned_at = await self._let_others(turned_at)
            except Compacted as error:
                log.warning("the feed is compacted: %s; taking a snapshot", error)
                self.ready = False
                continue
            except (StoreError, OSError, EOFError) as error:
                log.warning("the feed broke at index %d: %s", self.index, error)
            if self._metrics:
                self._metrics.feed_reconnects.inc()
            pause_s = 0.05 if self.index > before else min(max(pause_s * 2, 0.05), FEED_RETRY_S_MAX)
            await asyncio.sleep(pause_s)

    async def _let_others(self, turned_at: float) -> float:
        """A feed that has more and more at hand never waits: let requests be answered in between, and let what
        follows the view take up many commits at once. turned_at, returned: when the loop last had its turn."""
        loop = asyncio.get_running_loop()
        if loop.time() - turned_at < FOLD_S_MAX:
            return turned_at
        await asyncio.sleep(0)
        return loop.time()

    def _wanted(self) -> int | None:
        """Where the feed is to begin. The past is asked for once: later it would turn the view back."""
        if self.ready:
            return self.index
        is_first = self.index == 0 and self._replayed is None
        self._replayed = self.view if is_first else None
        return OLDEST if is_first else None

    def fold(self, item: FeedItem) -> None:
        """Take up one item of the feed. No await inside: a step is seen whole or not at all."""
        match item:
            case SnapshotStart():
                self._snapshot = []
            case SnapshotChunk(records):
                if self._snapshot is not None:
                    self._snapshot += records
            case SnapshotEnd(index):
                self._finish_snapshot(index)
            case Commit(index):
                if index > self.index:
                    self._commit(item)
            case Bookmark(index):
                if self._replayed is not None:
                    self._finish_replay(index)
                elif index > self.index and self.ready:
                    self._move(self.view.with_changes(index, ())[0])

    def _finish_snapshot(self, index: int) -> None:
        records, self._snapshot = self._snapshot or [], None
        if self._replayed is not None:
            changed = [change for record in records for change in _put(record)]
            self._replayed, _ = View.empty().with_changes(index, changed)
            self.history = History(self._replayed)
            return
        changed = []
        present = set()
        for record in records:
            present.add(ResourceKey(*record.key))
            known = self.view.get(*record.key)
            if known is None or known.version != record.version:
                changed += _put(record)
        changed += [(resource.key, None) for resource in self.view if resource.key not in present]
        view, changes = self.view.with_changes(index, changed)
        self.history = History(view)
        self.ready = True
        self._move(view)
        self._tell(changes, None)

    def _finish_replay(self, index: int) -> None:
        """The past is known up to now: show the present, as one change."""
        assert self._replayed is not None
        view, _ = self._replayed.with_changes(index, ())
        self._replayed = None
        self.ready = True
        self._move(view)
        self._tell(view.everything(), None)

    def _commit(self, commit: Commit) -> None:
        changed: list[Change] = []
        for event in commit.events:
            if event.op is Op.DELETE or event.value is None:
                changed.append((ResourceKey(*event.key), None))
            else:
                changed += _put(Record(event.key, event.value, event.index, event.created_ms, event.time_ms))
        if self._replayed is not None:
            self._replayed, _ = self._replayed.with_changes(commit.index, changed)
            self.history.append(commit, self._replayed)
            return
        view, changes = self.view.with_changes(commit.index, changed)
        self.history.append(commit, view)
        self._move(view)
        self._tell(changes, commit)

    def _move(self, view: View) -> None:
        """Show the next view, and wake whoever waits for its index."""
        self.view = view
        while self._waiting and self._waiting[0][0] <= view.index and self.ready:
            reached = heapq.heappop(self._waiting)[2]
            if not reached.done():
                reached.set_result(None)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    def _tell(self, changes: Changes, commit: Commit | None) -> None:
        for subscriber in tuple(self._subscribers):
            try:
                subscriber(self.view, changes, commit)
            except Exception:  # one broken derivation must not stop the fold
                log.exception("a subscriber of the view failed at index %d", self.index)


def _put(record: Record) -> list[Change]:
    """The change that a record makes. One that this release cannot read changes nothing: what was
    known of it before is better than a deletion that nobody asked for."""
    try:
        resource = decode_value(
            ResourceKey(*record.key), record.value, record.version, record.created_ms, record.modified_ms
        )
    except BadRequest as error:
        log.error("a record at index %d is left out of the view: %s", record.version, error)
        return []
    return [(resource.key, resource)]
