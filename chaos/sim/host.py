"""One simulated machine: a disk that survives, and a process that does not."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chaos.sim.coverage import Reached
from chaos.sim.disk import SimDisk
from chaos.sim.front import Front
from chaos.sim.machine import CLUSTER_ID, SimMachine, header_of, load
from chaos.sim.rejoining import Rejoining
from raftstore.config import RaftConfig
from raftstore.errors import DiskFull, StoreError
from raftstore.feed import Feed
from raftstore.group_commit import STALLED_S, ReplicaWal
from raftstore.guard_messages import BadMessage
from raftstore.machine import Applied
from raftstore.node import Node, SnapshotMeta
from raftstore.snapshot import commit_file, prune, save_in_slices, snapshot_name, snapshot_names
from raftstore.wal.format import SECTOR_BYTES
from raftstore.wal.journal import Batch
from raftstore.wal.recovery import segment_names

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster

# So small that a schedule of some seconds fills several and lets go of some.
SEGMENT_BYTES = 5_000
# How often a process with a full disk tries again, in seconds.
RETRY_FULL_S = 0.05


class WatchedWal(ReplicaWal):
    """The log of a real replica, which tells an observer of entries as they are written."""

    on_add: Callable[[int, int, int, bytes], None]
    on_cut: Callable[[], None]

    def add(self, command: bytes, idx: int, term: int) -> None:
        before = self[-1][2] if len(self) else -1
        super().add(command, idx, term)
        self.on_add(idx, term, before, command)

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        if 0 < entryFrom < len(self):
            self.on_cut()
        super().deleteEntriesFrom(entryFrom)


@dataclass(frozen=True)
class Build:
    """Which classes a host runs, and how it prunes snapshots: the real ones, or a judge's broken ones."""

    name: str = "real"
    node: type[Node] = Node
    wal: type[WatchedWal] = WatchedWal
    machine: type[SimMachine] = SimMachine
    feed: type[Feed] = Feed
    prune: Callable[..., object] = prune


@dataclass
class DiskSpeed:
    """How long a sync takes, in seconds."""

    min_s: float = 0.0005
    max_s: float = 0.004


@dataclass
class _Making:
    """A snapshot that is being written, slice by slice. keep: entries to leave below it."""

    index: int
    keep: int
    slices: Iterator[int]


@dataclass
class Host:
    """start(), kill() and power_cut() any number of times; `disk` and `recovering` stay.

    rng: of the process. disk_rng: of the disk. recovering: the disk was set aside, and the
    replica is silent until the others have readmitted it (raftstore/rejoin.py).
    """

    id: str
    cluster: Cluster
    voters: tuple[str, ...]
    observers: tuple[str, ...]
    build: Build
    config: RaftConfig
    rng: random.Random
    disk_rng: random.Random
    speed: DiskSpeed = field(default_factory=DiskSpeed)
    up: bool = False
    recovering: bool = False
    # Its disk holds what nobody wrote; the next start finds out.
    rotten: bool = False
    # Up to where the log was on the disk when the process ended.
    left_durable: int = 0
    # The voters that it knew of then.
    left_voters: tuple[str, ...] = ()
    # In whose term it was found that the log is rotten.
    set_aside_in: int = 0
    _full: str = ""
    _sync: Batch | None = None
    _sync_began: float = 0.0
    _sync_due: float = 0.0
    _making: _Making | None = None
    _wiping: bool = False

    def __post_init__(self) -> None:
        self.disk = SimDisk(self.cluster.reached)

    def start(self) -> None:
        """Raises Corrupt; PowerLost when the fuse burns through on the way."""
        opened = self.build.wal.open(
            self.disk, cluster_id=CLUSTER_ID, node_id=self.id, segment_bytes=SEGMENT_BYTES
        )
        assert isinstance(opened, WatchedWal)
        self.wal = opened
        checker = self.cluster.checker
        self.wal.on_add = checker.entry_written
        self.wal.on_cut = lambda: self.reach(Reached.TAIL_CUT)
        if self.wal.torn:
            self.reach(Reached.TORN_TAIL)
        self.machine = self.build.machine()
        snapshot = self._load_snapshot()
        self.node = self.build.node(
            self.id,
            [voter for voter in self.voters if not (self.recovering and voter == self.id)],
            journal=self.wal,
            machine=_Recorder(self),
            config=self.config,
            clock=lambda: self.cluster.now,
            rng=self.rng,
            observers=self.observers,
            snapshot=snapshot,
        )
        self.node.on_snapshot_needed = lambda peer: self.cluster.ship_snapshot(self.id, peer)
        self.front = Front(self)
        self.rejoining = Rejoining(self)
        self._sync = self._making = None
        self._full, self._wiping = "", False
        self.up, self.rotten = True, False

    def reach(self, place: Reached) -> None:
        self.cluster.reached[place] += 1

    def holds_durably(self, index: int, term: int | None) -> bool:
        """Whether the entry at `index`, or a snapshot beyond it, would outlive a power cut."""
        names = snapshot_names(self.disk)
        if names and int(names[-1].split(".")[0]) >= index:
            return True
        if not self.up:
            return self.left_durable >= index
        return self.wal.durable_index >= index and self.node.term_at(index) in (None, term)

    # --- running -------------------------------------------------------------------------

    def receive(self, peer: str, message: dict[str, Any] | tuple[Any, ...]) -> BadMessage | None:
        """What the network brought."""
        if isinstance(message, dict):
            return None if self.recovering else self.node.receive(peer, message)
        if not self.rejoining.frame(peer, message):
            self.front.frame(peer, message)
        return None

    def send_frame(self, to: str, frame: tuple[Any, ...]) -> None:
        self.disk.burn(Reached.LOST_AT_MESSAGE)
        self.cluster.network.send_frame(self.id, to, frame)

    def tick(self) -> None:
        self._finish_sync()
        self.rejoining.tick()
        self.front.before_tick()
        while self.node.tick():
            pass
        if self.front.intake.flush():
            while self.node.tick():
                pass
        self.node.pause_writes(self._trouble())
        self._send()
        self._begin_sync()
        self._go_on_with_snapshot()
        if self._wiping:
            self._wipe()

    def _send(self) -> None:
        if not self.wal.hard_state_durable:
            self.reach(Reached.MESSAGES_WAIT)
        messages = self.node.drain_outbox()
        for peer, message in sorted(messages, key=lambda item: item[0]) if not self.recovering else ():
            self.disk.burn(Reached.LOST_AT_MESSAGE)
            self._show_vote(peer, message)
            self.cluster.network.send(self.id, peer, message)

    def _show_vote(self, peer: str, message: dict[str, Any]) -> None:
        """A vote counts from when somebody may learn of it; until then it may be lost, and cast anew."""
        if message["type"] in ("request_vote", "response_vote"):
            vote = self.id if message["type"] == "request_vote" else peer
            self.cluster.checker.voted(self.id, message["term"], vote)

    def _trouble(self) -> str:
        """As GroupCommit.trouble, which the real loop asks for in each turn."""
        if self._full or self._sync is None:
            return self._full
        stalls = self.cluster.now - self._sync_began > STALLED_S
        return f"the disk stalls: a write takes longer than {STALLED_S:g} s" if stalls else ""

    def _begin_sync(self) -> None:
        if self._sync is None and self.wal.pending():
            self._sync = self.wal.take()
            self._sync_began = self.cluster.now
            self._sync_due = self.cluster.now + self.disk_rng.uniform(self.speed.min_s, self.speed.max_s)

    def _finish_sync(self) -> None:
        if self._sync is None or self._sync_due > self.cluster.now:
            return
        try:
            self.wal.write(self._sync)
        except DiskFull as error:
            self._full = str(error)
            self._sync_due += RETRY_FULL_S
            return
        self.wal.mark_durable(self._sync.lsn)
        self._full, self._sync = "", None
        self.node.durable()

    @property
    def under_way(self) -> bytes:
        """What is being written to the log, and not on the disk yet."""
        return b"" if self._sync is None else self._sync.data

    def fill_disk(self, room_bytes: int) -> None:
        self.cluster.trace(f"{self.id} has {room_bytes} bytes of disk left")
        self.disk.capacity = self.disk.used() + room_bytes

    def free_disk(self) -> None:
        if self.disk.capacity is not None:
            self.cluster.trace(f"{self.id} has disk space again")
        self.disk.capacity = None

    # --- dying ---------------------------------------------------------------------------

    def kill(self) -> None:
        """kill -9: what was handed to the kernel stays, a write under way may be torn."""
        self._tear()
        self._end()

    def power_cut(self, *, torn: bool = True) -> None:
        """What was not synced is lost; torn: some of it may have reached the platter, to any byte."""
        if torn:
            self._tear()
        self.disk.power_cut(self.disk_rng if torn else None)
        self._end()

    def _end(self) -> None:
        if self.up:
            self.left_durable, self.left_voters = self.wal.durable_index, self.node.voters
            if not self.wal.hard_state_durable and self.wal.getVotedForNodeId() is not None:
                self.reach(Reached.VOTE_LOST)
        self.disk.put_out()
        self._sync = None
        self.up = False

    def _tear(self) -> None:
        """A write under way may have got somewhere: a file grows to any byte, but a segment that is used again
        changes by whole sectors, as disks and page caches do. (Zeros in the middle of one could be a client's.)"""
        sync = self._sync
        if sync is None or self.disk_rng.random() < 0.5 or sync.segment not in self.disk.list():
            return
        self.disk.put_out()
        count, size = self.disk_rng.randint(0, 400), self.disk.size(sync.segment)
        with suppress(OSError):  # a full disk takes what fits
            if size == sync.offset:
                self.disk.append(sync.segment, sync.data[:count])
                return
            count += -(sync.offset + count) % SECTOR_BYTES
            if size >= sync.offset + count:
                self.disk.write_at(sync.segment, sync.offset, sync.data[:count])

    # --- rot -----------------------------------------------------------------------------

    def rot(self, bit: int) -> str:
        """Flip one bit of what the next start will read; where."""
        names = segment_names(self.disk) + snapshot_names(self.disk)[-1:]
        sizes = {name: len(self.disk.read(name)) for name in names}
        at = bit % (8 * sum(sizes.values()))
        for name, size in sizes.items():
            if at < 8 * size:
                self.disk.flip(name, at // 8, at % 8)
                self.rotten = True
                return f"bit {at} of {name}"
            at -= 8 * size
        raise AssertionError("the bit lies within the files")

    def set_aside(self) -> None:
        """Start anew, as with --recover-from-peers."""
        capacity, self.disk = self.disk.capacity, SimDisk(self.cluster.reached)
        self.disk.capacity = capacity
        self.rotten, self.recovering = False, True
        self.set_aside_in = max((host.node.term for host in self.cluster.running()), default=0)
        self.reach(Reached.SET_ASIDE)

    # --- snapshots -----------------------------------------------------------------------

    def take_snapshot(self, keep_entries: int) -> None:
        """Make one now, and drop the log below a trailing window."""
        self.begin_snapshot(keep_entries)
        while self._making is not None:
            self._go_on_with_snapshot()

    def begin_snapshot(self, keep_entries: int) -> None:
        """As raftstore/compaction.py: written in slices while everything goes on; each tick one."""
        node = self.node
        index = node.applied_index
        term = node.term_at(index)
        if self._making is not None or index <= self.wal.first_index or term is None:
            return
        state = self.machine.kept()
        header = header_of(state, term=term, voters=node.voters_at(index), cluster_id=CLUSTER_ID, index=index)
        self._making = _Making(index, keep_entries, save_in_slices(self.disk, header, state))

    def _go_on_with_snapshot(self) -> None:
        making = self._making
        if making is None:
            return
        try:
            if next(making.slices, None) is not None:
                return
            self._making = None
            if making.index > self.wal.first_index:  # else one from the leader has overtaken it
                self.reach(Reached.SNAPSHOT_MADE)
                self._drop(making.index - making.keep)
            else:
                self.reach(Reached.SNAPSHOT_OVERTAKEN)
        except StoreError as error:  # a full disk
            self.reach(Reached.SNAPSHOT_FULL)
            self._making = None
            self.cluster.trace(f"{self.id} gives up a snapshot: {error}")

    def _drop(self, index: int) -> None:
        self.wal.drop_to(index, collect=False)
        self.wal.collect_garbage()
        making = self._making
        self.build.prune(self.disk, spare=() if making is None else {snapshot_name(making.index)})
        self._wiping = True

    def _wipe(self) -> None:
        """Prepare segments for their next use, a portion each tick."""
        try:
            self._wiping = self.wal.wipe()
        except StoreError as error:
            self._wiping = False
            self.cluster.trace(f"{self.id} gives up wiping: {error}")

    def install_snapshot(self, data: bytes) -> None:
        snapshot = load(data).finish()
        meta = SnapshotMeta(snapshot.header.index, snapshot.header.term, snapshot.header.voters)
        if meta.index <= self.node.applied_index:
            self.reach(Reached.SHIPPED_LATE)
            return
        if not self._store(meta.index, data):
            return

        def restore() -> None:
            self.machine.state = snapshot.state

        if self.node.install_snapshot(meta, restore):
            self.reach(Reached.SHIPPED if self.id in self.node.voters else Reached.SHIPPED_OBSERVER)
            self.front.jumped()
            self.cluster.checker.snapshot_installed(self.id, meta)
            self._drop(meta.index)

    def stored_snapshot(self) -> bytes | None:
        names = snapshot_names(self.disk)
        return self.disk.read(names[-1]) if names else None

    def _store(self, index: int, data: bytes) -> bool:
        """Whether the disk had room for it."""
        name = snapshot_name(index)
        temporary = name + ".part"
        try:
            self.disk.truncate(temporary, 0)
            half = len(data) // 2
            self.disk.append(temporary, data[:half])
            self.disk.append(temporary, data[half:])
        except OSError:
            return False
        commit_file(self.disk, temporary, name)
        return True

    def _load_snapshot(self) -> SnapshotMeta | None:
        stored = self.stored_snapshot()
        if stored is None:
            return None
        snapshot = load(stored).finish()
        self.machine.state = snapshot.state
        return SnapshotMeta(snapshot.header.index, snapshot.header.term, snapshot.header.voters)


class _Recorder:
    """Passes commands to the machine and tells the feed and the checker."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def apply(self, index: int, term: int, command: bytes) -> Applied:
        host = self._host
        applied = host.machine.apply(index, term, command)
        host.front.published(index, applied)
        host.cluster.checker.applied(host.id, index, term, applied, host.machine.state.digest())
        return applied
