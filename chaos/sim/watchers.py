"""Watchers: readers of the real feed, each at its own pace, resumed at whichever replica is there.

Each item is judged as it comes (a smaller index, a gap, half a commit), and all that one
watcher got is judged at the end by the validators that judge real watches
(raftstore/guarantees.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.sim.coverage import Reached
from chaos.sim.invariants import FeedBroken
from raftstore import guarantees
from raftstore.errors import Compacted
from raftstore.feed import Reader
from raftstore.types import Bookmark, Commit, FeedItem, SnapshotChunk, SnapshotStart

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster

# Items per step. The slow one reads one item in so many steps.
FAST, SLOW_STEPS = 20, 7


class Watcher:
    """One client's watch over all its connections."""

    def __init__(self, name: str, cluster: Cluster, *, slow: bool) -> None:
        self.name = name
        self._cluster = cluster
        self._slow = slow
        self.items: list[FeedItem] = []
        self.position = 0
        self.host_id: str | None = None
        self._life: object = None
        self._reader: Reader | None = None

    @property
    def connected(self) -> bool:
        """Whether the replica that it reads from is still the same process."""
        host = self._cluster.hosts.get(self.host_id or "")
        return host is not None and host.up and host.front is self._life

    def connect(self, host_id: str) -> None:
        """Resume at `host_id`, after what was seen; or from a snapshot, when that is compacted."""
        host = self._cluster.hosts[host_id]
        if not host.up:
            return
        if self.host_id not in (None, host_id):
            self._cluster.reached[Reached.WATCH_MOVES] += 1
        self.host_id, self._life = host_id, host.front
        # A connection that breaks within a snapshot is followed by one that starts over.
        self._drop_half_a_snapshot()
        try:
            self._reader = host.front.feed.reader(self.position if self.position else None)
        except Compacted:
            self._cluster.reached[Reached.WATCH_COMPACTED] += 1
            self._reader = host.front.feed.reader(None)
        self._cluster.trace(f"{self.name} watches {host_id} from {self.position}")

    def step(self, number: int) -> None:
        """Read what there is, at the own pace. Raises FeedBroken."""
        if not self.connected or (self._slow and number % SLOW_STEPS):
            return
        for _ in range(1 if self._slow else FAST):
            if not self._read():
                return

    def drain(self) -> None:
        while self.connected and self._read():
            pass

    def final(self) -> None:
        """After drain(). Raises FeedBroken."""
        truth = self._cluster.checker.truth
        if self.connected:
            missed = truth.first_after(self.position)
            if missed <= self._cluster.hosts[self.host_id or ""].node.applied_index:
                raise FeedBroken(
                    f"{self.name} at {self.host_id} ends at {self.position}, before commit {missed}"
                )
        try:
            guarantees.check_watch(self.items, [truth.commits[index] for index in truth.indexes])
        except guarantees.Violation as violation:
            raise FeedBroken(f"{self.name}: {type(violation).__name__}: {violation}") from violation

    # --- inside --------------------------------------------------------------------------

    def _read(self) -> bool:
        """One item; False when there is none."""
        assert self._reader is not None
        try:
            item = self._reader.next()
        except Compacted:
            self._reader = self._cluster.hosts[self.host_id or ""].front.feed.reader(None)
            return True
        if item is None:
            return False
        self._judge(item)
        self.items.append(item)
        return True

    def _judge(self, item: FeedItem) -> None:
        if isinstance(item, SnapshotChunk):
            return
        if item.index < self.position:
            raise FeedBroken(f"{self.name} at {self.host_id}: {item.index} came after {self.position}")
        truth = self._cluster.checker.truth
        if isinstance(item, Commit):
            if item.index == self.position:
                raise FeedBroken(f"{self.name} at {self.host_id}: commit {item.index} came twice")
            if truth.commits.get(item.index) != item:
                raise FeedBroken(f"{self.name} at {self.host_id}: commit {item.index} is not the log's")
        if isinstance(item, Commit | Bookmark):
            missed = truth.first_after(self.position)
            if missed < item.index or (missed == item.index and isinstance(item, Bookmark)):
                raise FeedBroken(
                    f"{self.name} at {self.host_id}: {item.index} came after {self.position}, "
                    f"commit {missed} never did"
                )
        self.position = item.index

    def _drop_half_a_snapshot(self) -> None:
        """Nothing of it counts: the position is what it was before."""
        at = len(self.items)
        while at and isinstance(self.items[at - 1], SnapshotChunk):
            at -= 1
        if at and isinstance(self.items[at - 1], SnapshotStart):
            del self.items[at - 1 :]
            last = self.items[-1] if self.items else None
            assert not isinstance(last, SnapshotChunk)
            self.position = last.index if last is not None else 0
