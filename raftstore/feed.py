"""The feed: applied events for any number of readers, each at its own pace.

The design is that of HashiCorp Consul's agent/consul/stream. Commits form a singly linked
list that only grows at its end. A reader holds a pointer to the last node that it has
seen; no reader has a queue, so none can overflow, slow another, or cost more than its
pointer. A new reader without a position first reads a snapshot, which is a pointer too (a
persistent State), and goes on at the node that was the last when the snapshot was taken:
nothing is missing and nothing comes twice.

    root -> commit 7 -> commit 9 -> commit 12 (tail)        head = 13
     ^ oldest index that can    ^ a reader                   ^ index 13 changed nothing
       be resumed after

A reader that wants the past as well begins with OLDEST: the state at the root, or at the last of the
commits that it may replay, and then every commit since. A node holds the state after it, which is
persistent and so costs about what its commit changed.

What is kept is bounded by count, bytes and age. A node that is let go is unlinked, so a
reader that was too slow does not keep the rest in memory: it meets Compacted, and comes
back for a snapshot. When the store itself jumps (a snapshot came from the leader), readers
find that snapshot in their stream: SnapshotStart always means "forget what you had".

Bookmarks: as soon as a reader has everything and the head is beyond the last commit that it
got; once when it first catches up; and after each idle period.

Time is passed in; only `subscribe`, a thin asyncio loop around Reader.next, waits.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator

from raftstore import limits
from raftstore.errors import Compacted
from raftstore.members import OWN_KIND
from raftstore.snapshot import chunks
from raftstore.state import State
from raftstore.types import (
    OLDEST,
    Bookmark,
    Commit,
    Event,
    FeedItem,
    Scope,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
)

# What an event weighs besides its value: a dozen small objects.
_EVENT_BYTES = 300
# After so many items without waiting, a reader lets the loop serve others.
_ITEMS_PER_SLICE = 64


class _Node:
    """A commit in the list; or, with commit None, a jump to a snapshot."""

    __slots__ = ("commit", "dropped", "index", "next", "size", "state", "time_ms")

    def __init__(self, index: int, commit: Commit | None, time_ms: int, state: State) -> None:
        self.index = index
        self.commit = commit
        self.time_ms = time_ms
        self.state = state
        self.size = sum(_EVENT_BYTES + len(e.value or b"") for e in commit.events) if commit else 0
        self.next: _Node | None = None
        self.dropped = False


class Feed:
    """The list and what is kept of it. `state` is where it starts."""

    def __init__(
        self,
        state: State = State(),
        *,
        commits_max: int = limits.FEED_COMMITS_MAX,
        bytes_max: int = limits.FEED_BYTES_MAX,
        age_ms_max: int = limits.FEED_AGE_MS_MAX,
        replay_max: int = limits.FEED_REPLAY_MAX,
    ) -> None:
        self._state = state
        self._head = state.index
        self._nodes = [_Node(state.index, None, 0, state)]  # [_first] is the root, [-1] the tail
        self._first = 0
        self._bytes = 0
        self._commits_max, self._bytes_max, self._age_ms_max = commits_max, bytes_max, age_ms_max
        self._replay_max = replay_max
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def head(self) -> int:
        """The index up to which everything applied is in the feed."""
        return self._head

    @property
    def first_index(self) -> int:
        """The oldest index that can be resumed after."""
        return self._nodes[self._first].index

    @property
    def commits(self) -> int:
        """How many commits are kept."""
        return len(self._nodes) - self._first - 1

    @property
    def state(self) -> State:
        return self._state

    # --- the writer's side ------------------------------------------------------------

    def publish(self, index: int, events: tuple[Event, ...], state: State, now_ms: int) -> None:
        """Entry `index` was applied: its events, and the state that it made.

        Also for an entry without events, so that readers learn that nothing is missing. The
        store's own records (members.py) are nobody else's business and left out.
        now_ms: any clock that does not go back. Indexes at or below the head are ignored.
        """
        if index <= self._head:
            return
        self._state, self._head = state, index
        events = tuple(event for event in events if event.key.kind != OWN_KIND)
        if events:
            self._link(_Node(index, Commit(index, events), now_ms, state))
        self.expire(now_ms)
        self._wake()

    def jump(self, index: int, state: State, now_ms: int) -> None:
        """The store took over a snapshot at `index`: what led there was never seen here."""
        self._state, self._head = state, index
        jump = _Node(index, None, now_ms, state)
        self._link(jump)
        self._drop(len(self._nodes) - 1 - self._first, onward=jump)
        self._wake()

    def expire(self, now_ms: int) -> None:
        """Let go of what is beyond the limits. Called by publish, and by a timer when idle."""
        while self.commits:
            node = self._nodes[self._first + 1]
            within = self.commits <= self._commits_max and self._bytes <= self._bytes_max
            if within and now_ms - node.time_ms <= self._age_ms_max:
                break
            self._drop(1)

    def compact(self, index: int) -> None:
        """Let go of the commits up to `index`."""
        self._drop(bisect_right(self._nodes, index, lo=self._first, key=_index) - 1 - self._first)

    def close(self) -> None:
        """End every subscription."""
        self._closed = True
        self._wake()

    def _link(self, node: _Node) -> None:
        self._nodes[-1].next = node
        self._nodes.append(node)
        self._bytes += node.size

    def _drop(self, count: int, onward: _Node | None = None) -> None:
        """Move the root forward, unlinking what is behind it; `onward` is where its readers go."""
        for _ in range(max(0, count)):
            old = self._nodes[self._first]
            self._first += 1
            self._bytes -= self._nodes[self._first].size
            old.next, old.dropped = onward, onward is None
        if self._first > 1000 and self._first * 2 > len(self._nodes):
            del self._nodes[: self._first]
            self._first = 0

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # --- the readers' side ------------------------------------------------------------

    def reader(self, after: int | None = None) -> Reader:
        """Read on after index `after`; None: the state first; OLDEST: an old one first. Raises Compacted.

        An index above the head is waited for: the reader saw it on a replica that is ahead.
        """
        if after == OLDEST:
            node = self._nodes[max(self._first, len(self._nodes) - 1 - self._replay_max)]
            return Reader(self, node, node.index, node.state)
        return Reader(self, self._nodes[-1] if after is None else self.seek(after), after)

    def seek(self, after: int) -> _Node:
        """The last node at or below `after`. Raises Compacted."""
        at = bisect_right(self._nodes, after, lo=self._first, key=_index) - 1
        if at < self._first:
            raise Compacted(after, self.first_index)
        return self._nodes[at]

    async def subscribe(
        self, after: int | None = None, *, bookmark_s: float = limits.FEED_BOOKMARK_S
    ) -> AsyncIterator[FeedItem]:
        """Items as they come, a Bookmark after each `bookmark_s` of silence; ends with close().

        Raises Compacted, at once or when the reader was too slow.
        """
        reader = self.reader(after)
        given = 0
        while not self._closed:
            changed = self._changed
            item = reader.next()
            if item is None:
                given = 0
                if await _quiet(changed, bookmark_s):
                    item = reader.bookmark()
            elif given >= _ITEMS_PER_SLICE or isinstance(item, SnapshotChunk):
                await asyncio.sleep(0)
                given = 0
            if item is not None:
                given += 1
                yield item


def _index(node: _Node) -> int:
    return node.index


async def _quiet(changed: asyncio.Event, seconds: float) -> bool:
    """Whether so many seconds went by without a change."""
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return True
    return False


class Reader:
    """One reader's place. Costs a pointer until it reads."""

    def __init__(self, feed: Feed, node: _Node, after: int | None, state: State | None = None) -> None:
        """state: the one at `node`, which the reader gets first."""
        self._feed = feed
        self._node = node
        self._caught_up = False
        self._snapshot: Iterator[FeedItem] | None = None
        self.position = after if after is not None else 0
        if after is None:
            self._splice(node)
        elif state is not None:
            self._snapshot = _snapshot(after, state)

    def next(self) -> FeedItem | None:
        """The next item, or None when there is nothing to say yet. Raises Compacted."""
        if self._snapshot is not None:
            item = next(self._snapshot, None)
            if item is not None:
                return item
            self._snapshot = None
        if self._node.dropped:
            self._node = self._feed.seek(self.position)
        while (node := self._node.next) is not None:
            self._node = node
            if node.commit is None and node.index > self.position:
                self._splice(self._feed._nodes[-1])
                return self.next()
            if node.commit is not None and node.index > self.position:
                self.position = node.index
                return node.commit
        if self._feed.head > self.position or not self._caught_up:
            return self.bookmark()
        return None

    def bookmark(self) -> Bookmark | None:
        """A progress mark; None while the head is not where the reader is already."""
        if self._feed.head < self.position:
            return None
        self._caught_up = True
        self.position = self._feed.head
        return Bookmark(self.position)

    def _splice(self, tail: _Node) -> None:
        """Go on with the state as it is now, and after it with what follows `tail`."""
        self._node, self.position = tail, self._feed.head
        self._snapshot = _snapshot(self._feed.head, self._feed.state)


def _snapshot(index: int, state: State) -> Iterator[FeedItem]:
    own = sum(1 for _ in state.scan(Scope(OWN_KIND)))
    yield SnapshotStart(index, len(state.records) - own)
    for chunk in chunks(record for record in state.scan() if record.key.kind != OWN_KIND):
        yield SnapshotChunk(chunk)
    yield SnapshotEnd(index)
