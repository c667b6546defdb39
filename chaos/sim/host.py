"""One simulated machine: a disk that survives, and a process that does not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgpack

from chaos.sim.machine import SimMachine
from raftstore.config import RaftConfig
from raftstore.node import Node, SnapshotMeta
from raftstore.wal.journal import Batch, Wal
from raftstore.wal.memdisk import MemoryDisk

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster

SNAPSHOT_FILE = "snapshot"


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
        self.wal = self.build.wal.open(self.disk, cluster_id="sim", node_id=self.id)
        checker = self.cluster.checker
        self.wal.on_add = checker.entry_written
        self.wal.on_vote = lambda term, vote: checker.voted(self.id, term, vote)
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
        if self._sync is not None and self._sync_due <= self.cluster.now:
            self.wal.write(self._sync)
            self.wal.mark_durable(self._sync.lsn)
            self._sync = None
            self.node.durable()

    # --- dying ---------------------------------------------------------------------------

    def kill(self) -> None:
        """kill -9: what was handed to the kernel stays, a write under way may be torn."""
        self._tear()
        self.up = False

    def power_cut(self) -> None:
        """What was not synced is lost, or torn at any byte."""
        self._tear()
        self.disk.power_cut(self.rng)
        self.up = False

    def _tear(self) -> None:
        if self._sync is not None and self.rng.random() < 0.5 and self._sync.segment in self.disk.list():
            size = len(self.disk.read(self._sync.segment))
            if size == self._sync.offset:
                self.disk.append(self._sync.segment, self._sync.data[: self.rng.randint(0, 400)])

    # --- snapshots -----------------------------------------------------------------------

    def take_snapshot(self, keep_entries: int) -> None:
        """What the shell does: make a snapshot durable, then drop the log below a trailing window."""
        node = self.node
        index = node.applied_index
        term = node.term_at(index)
        if index <= self.wal.first_index or term is None:
            return
        meta = SnapshotMeta(index, term, node.voters_at(index))
        self._store_snapshot(meta, self.machine.dump())
        if self._sync is not None or self.wal.pending():
            self.wal.flush()
            self.node.durable()
        self.wal.drop_to(max(self.wal.first_index, index - keep_entries))

    def install_snapshot(self, meta: SnapshotMeta, data: bytes) -> None:
        if meta.index <= self.node.applied_index:
            return
        self._store_snapshot(meta, data)
        self.node.install_snapshot(meta, lambda: self.machine.load(data))
        self.cluster.checker.snapshot_installed(self.id, meta)

    def stored_snapshot(self) -> tuple[SnapshotMeta, bytes] | None:
        if SNAPSHOT_FILE not in self.disk.list():
            return None
        index, term, voters, data = msgpack.unpackb(self.disk.read(SNAPSHOT_FILE))
        return SnapshotMeta(index, term, tuple(voters)), data

    def _store_snapshot(self, meta: SnapshotMeta, data: bytes) -> None:
        temporary = SNAPSHOT_FILE + ".tmp"
        if temporary in self.disk.list():
            self.disk.unlink(temporary)
        self.disk.append(temporary, msgpack.packb([meta.index, meta.term, meta.voters, data]))
        self.disk.datasync(temporary)
        self.disk.rename(temporary, SNAPSHOT_FILE)
        self.disk.sync_dir()

    def _load_snapshot(self) -> SnapshotMeta | None:
        stored = self.stored_snapshot()
        if stored is None:
            return None
        self.machine.load(stored[1])
        return stored[0]


class _Recorder:
    """Passes commands to the machine and tells the checker."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def apply(self, index: int, term: int, command: bytes) -> object:
        self._host.cluster.checker.applied(self._host.id, index, term, command)
        return self._host.machine.apply(index, term, command)
