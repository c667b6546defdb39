"""One simulated machine: a disk that survives, and a process that does not."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaos.sim.machine import CLUSTER_ID, SimMachine, dump, load
from raftstore.config import RaftConfig
from raftstore.errors import DiskFull
from raftstore.node import Node, SnapshotMeta
from raftstore.snapshot import commit_file, prune, snapshot_name, snapshot_names
from raftstore.wal.journal import Batch, Wal
from raftstore.wal.memdisk import MemoryDisk

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster


class WatchedWal(Wal):
    """The real log, which tells an observer of entries and votes as they are written."""

    on_add: Callable[[int, int, int, bytes], None]
    on_vote: Callable[[int, str], None]

    def add(self, command: bytes, idx: int, term: int) -> None:
        before = self[-1][2] if len(self) else -1
        super().add(command, idx, term)
        self.on_add(idx, term, before, command)

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        super().setCurrentTerm(term, votedForNodeId)
        if votedForNodeId is not None:
            self.on_vote(term, votedForNodeId)


# How often a process with a full disk tries again, in seconds.
RETRY_FULL_S = 0.05


@dataclass(frozen=True)
class Build:
    """Which classes a host runs: the real ones, or a judge's broken ones."""

    name: str = "real"
    node: type[Node] = Node
    wal: type[WatchedWal] = WatchedWal
    machine: type[SimMachine] = SimMachine


@dataclass
class DiskSpeed:
    """How long a sync takes, in seconds."""

    min_s: float = 0.0005
    max_s: float = 0.004


@dataclass
class Host:
    """start(), kill() and power_cut() any number of times; `disk` stays."""

    id: str
    cluster: Cluster
    voters: tuple[str, ...]
    build: Build
    config: RaftConfig
    rng: random.Random
    disk: MemoryDisk = field(default_factory=MemoryDisk)
    speed: DiskSpeed = field(default_factory=DiskSpeed)
    up: bool = False
    _sync: Batch | None = None
    _sync_due: float = 0.0

    def start(self) -> None:
        wal = self.build.wal.open(self.disk, cluster_id=CLUSTER_ID, node_id=self.id)
        assert isinstance(wal, WatchedWal)
        checker = self.cluster.checker
        wal.on_add = checker.entry_written
        wal.on_vote = lambda term, vote: checker.voted(self.id, term, vote)
        self.wal = wal
        self.machine = self.build.machine()
        snapshot = self._load_snapshot()
        self.node = self.build.node(
            self.id,
            self.voters,
            journal=self.wal,
            machine=_Recorder(self),
            config=self.config,
            clock=lambda: self.cluster.now,
            rng=self.rng,
            snapshot=snapshot,
        )
        self.node.on_snapshot_needed = lambda peer: self.cluster.ship_snapshot(self.id, peer)
        self._sync = None
        self.up = True

    # --- running -------------------------------------------------------------------------

    def tick(self) -> None:
        self._finish_sync()
        while self.node.tick():
            pass
        self._begin_sync()
        for peer, message in sorted(self.node.drain_outbox(), key=lambda item: item[0]):
            self.cluster.network.send(self.id, peer, message)

    def _begin_sync(self) -> None:
        if self._sync is None and self.wal.pending():
            self._sync = self.wal.take()
            self._sync_due = self.cluster.now + self.rng.uniform(self.speed.min_s, self.speed.max_s)

    def _finish_sync(self) -> None:
        if self._sync is None or self._sync_due > self.cluster.now:
            return
        try:
            self.wal.write(self._sync)
        except DiskFull as error:
            self.node.pause_writes(str(error))
            self._sync_due += RETRY_FULL_S
            return
        self.wal.mark_durable(self._sync.lsn)
        self._sync = None
        self.node.durable()

    def fill_disk(self, room_bytes: int) -> None:
        self.cluster.trace(f"{self.id} has {room_bytes} bytes of disk left")
        self.disk.capacity = self.disk.used() + room_bytes

    def free_disk(self) -> None:
        self.cluster.trace(f"{self.id} has disk space again")
        self.disk.capacity = None

    # --- dying ---------------------------------------------------------------------------

    def kill(self) -> None:
        """kill -9: what was handed to the kernel stays, a write under way may be torn."""
        self._tear()
        self.up = False

    def power_cut(self, *, torn: bool = True) -> None:
        """What was not synced is lost; torn: some of it may have reached the platter, to any byte."""
        if torn:
            self._tear()
        self.disk.power_cut(self.rng if torn else None)
        self.up = False

    def _tear(self) -> None:
        if self._sync is not None and self.rng.random() < 0.5 and self._sync.segment in self.disk.list():
            size = len(self.disk.read(self._sync.segment))
            if size == self._sync.offset:
                with suppress(OSError):  # a full disk takes what fits
                    self.disk.append(self._sync.segment, self._sync.data[: self.rng.randint(0, 400)])

    # --- snapshots -----------------------------------------------------------------------

    def take_snapshot(self, keep_entries: int) -> None:
        """What the shell does: make a snapshot durable, then drop the log below a trailing window."""
        node = self.node
        index = node.applied_index
        term = node.term_at(index)
        if index <= self.wal.first_index or term is None:
            return
        if self._store(index, dump(self.machine, index, term, node.voters_at(index))):
            self.wal.drop_to(max(self.wal.first_index, index - keep_entries))

    def install_snapshot(self, data: bytes) -> None:
        snapshot = load(data).finish()
        meta = SnapshotMeta(snapshot.header.index, snapshot.header.term, snapshot.header.voters)
        if meta.index <= self.node.applied_index or not self._store(meta.index, data):
            return

        def restore() -> None:
            self.machine.state = snapshot.state

        self.node.install_snapshot(meta, restore)
        self.cluster.checker.snapshot_installed(self.id, meta)

    def stored_snapshot(self) -> bytes | None:
        names = snapshot_names(self.disk)
        return self.disk.read(names[-1]) if names else None

    def _store(self, index: int, data: bytes) -> bool:
        """Whether the disk had room for it."""
        if "staged" in self.disk.list():
            self.disk.unlink("staged")
        try:
            self.disk.append("staged", data)
        except OSError:
            return False
        self.disk.datasync("staged")
        commit_file(self.disk, "staged", snapshot_name(index))
        prune(self.disk)
        return True

    def _load_snapshot(self) -> SnapshotMeta | None:
        stored = self.stored_snapshot()
        if stored is None:
            return None
        snapshot = load(stored).finish()
        self.machine.state = snapshot.state
        return SnapshotMeta(snapshot.header.index, snapshot.header.term, snapshot.header.voters)


class _Recorder:
    """Passes commands to the machine and tells the checker."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def apply(self, index: int, term: int, command: bytes) -> object:
        applied = self._host.machine.apply(index, term, command)
        self._host.cluster.checker.applied(self._host.id, index, term, applied)
        return applied
