"""The consensus core: pysyncobj 0.3.17, reached through its seams and nowhere else.

pysyncobj supplies roles, elections, next and match indexes, batching and the commit
rule. Everything around it is ours: journal, transport, clock, codec, apply. This is the
only module that imports pysyncobj; PRIVATE_NAMES lists each name of it that we touch
without its promise, and the line that makes it necessary. The version is pinned exactly,
and tests/raft/test_core.py fails with a readable message when one of them has moved.

Nothing here decides what is safe: that is the guard's work (guard.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pysyncobj.syncobj as syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node as BasePeerId
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from raftstore import entries
from raftstore.config import RaftConfig
from raftstore.core_clock import Running, now
from raftstore.core_start import Hooks, align, voters_at_start
from raftstore.core_start import SnapshotMeta as SnapshotMeta
from raftstore.entries import Change
from raftstore.errors import DiskFull
from raftstore.journal import Entry, Journal
from raftstore.limits import BATCH_BYTES_MAX, KIB

SUPPORTED_VERSION = "0.3.17"
if VERSION != SUPPORTED_VERSION:
    raise ImportError(
        f"raftstore needs pysyncobj=={SUPPORTED_VERSION} but {VERSION} is installed: "
        f"pip install pysyncobj=={SUPPORTED_VERSION}"
    )

Message = dict[str, Any]

FOLLOWER, CANDIDATE, LEADER = "follower", "candidate", "leader"
_ROLES = (FOLLOWER, CANDIDATE, LEADER)


@dataclass(frozen=True, slots=True)
class PrivateName:
    """A name of pysyncobj that we rely on although it is not public."""

    name: str  # as it is written in pysyncobj/syncobj.py
    line: int  # the line of 0.3.17 that makes it necessary
    why: str


# Names of the module.
MODULE_NAMES = (
    PrivateName("pickle", 27, "commands are unpickled, i.e. run code: replaced by a msgpack codec"),
    PrivateName("createJournal", 41, "the one way to pass a journal of our own"),
    PrivateName("monotonicTime", 46, "the clock: replaced by the running core's"),
)
# Methods that we override.
OVERRIDDEN = (
    PrivateName("__connectedToAnyone", 635, "asked just before an election: the place of pre-vote"),
    PrivateName("__generateRaftTimeout", 636, "draws from the global random: must be seeded per node"),
    PrivateName("__setCurrentTerm", 921, "a full disk must not interrupt a change of role"),
    PrivateName(
        "__applyLogEntries",
        688,
        "applies twice when a callback raises (714-729); a commit must obey durability",
    ),
    PrivateName("_checkCommandsToApply", 699, "last step of a tick: send what is new at once, as one batch"),
    PrivateName("__doChangeCluster", 1013, "a change must name the whole membership, not a difference"),
    PrivateName("__getEntries", 1272, "copies the whole tail for each batch"),
    PrivateName("__sendAppendEntries", 1251, "to know what was sent; spins on peers that need a snapshot"),
)
# Attributes of an instance that we read or write.
ATTRIBUTES = (
    PrivateName("_poller", 205, "sockets of its own: none wanted"),
    PrivateName("__serializer", 198, "snapshots travel out of band, never as pickles in messages"),
    PrivateName("__connectedNodes", 154, "to leave out, for one send, peers that need a snapshot"),
    PrivateName("__raftElectionDeadline", 162, "to arm one timer, and to start an election in tests"),
    PrivateName("__raftCommitIndex", 176, "a leader's commit waits for its own disk"),
    PrivateName("__raftLastApplied", 177, "a snapshot starts above 1; each entry is applied once"),
    PrivateName("__raftNextIndex", 178, "an acknowledgement of old entries must not rewind the pipeline"),
    PrivateName(
        "__raftMatchIndex", 180, "transfer and status; a follower that lost its disk matches nothing"
    ),
    PrivateName("__lastResponseTime", 179, "the quorum check counts arrivals, also of old replies"),
)


class PeerId(str, BasePeerId):  # type: ignore[misc]  # pysyncobj has no types
    """A node's id as pysyncobj wants it. It looks its peers up in dicts all the time: those of a
    `str` are compared and hashed in C."""

    __hash__ = str.__hash__
    __eq__ = str.__eq__
    __ne__ = str.__ne__


class _Codec:
    """Stands in for the module `pickle` inside pysyncobj.syncobj."""

    loads = staticmethod(entries.unpack)
    dumps = staticmethod(entries.pack)


syncobj.pickle = _Codec
syncobj.createJournal = lambda journal: journal
syncobj.monotonicTime = now


class _Wire(Transport):  # type: ignore[misc]  # pysyncobj has no types
    """The core's transport: hands messages to the hooks, and knows which peers are reachable."""

    def __init__(self, send: Callable[[str, Message], None]) -> None:
        super().__init__(None, None, [])
        self._send = send
        self.up: set[str] = set()

    def send(self, node: PeerId, message: Message) -> bool:
        self._send(node.id, message)
        return True

    def addNode(self, node: PeerId) -> None:
        if node.id in self.up:
            self._onNodeConnected(node)

    def dropNode(self, node: PeerId) -> None:
        self._onNodeDisconnected(node)


class _NoSockets:
    """In place of pysyncobj's poller."""

    def poll(self, timeout: float) -> None:
        """There is nothing to wait for."""


class _NoSnapshots:
    """In place of pysyncobj's serializer, which is asked at each tick and for each absent peer."""

    def checkSerializing(self) -> tuple[int, None]:
        return syncobj.SERIALIZER_STATE.NOT_SERIALIZING, None

    def cancelTransmisstion(self, node: PeerId) -> None:
        """Nothing is ever in transmission."""

    def setTransmissionData(self, data: object) -> bool:
        return False


class _Engine(SyncObj):  # type: ignore[misc]  # pysyncobj has no types
    """pysyncobj's state machine with OVERRIDDEN overridden. Only Core touches it."""

    def __init__(self, core: Core, peers: Iterable[str], conf: SyncObjConf, wire: _Wire) -> None:
        self._core = core
        self._sent: tuple[int, int] = (0, 0)
        super().__init__(
            PeerId(core.node_id), [PeerId(p) for p in peers], conf, nodeClass=PeerId, transport=wire
        )
        self._poller = _NoSockets()
        self._SyncObj__serializer = _NoSnapshots()

    def _SyncObj__connectedToAnyone(self) -> bool:
        return self._core.may_campaign()

    def _SyncObj__generateRaftTimeout(self) -> float:
        config = self._core.config
        return self._core.rng.uniform(config.election_timeout_min_s, config.election_timeout_max_s)

    def _SyncObj__setCurrentTerm(self, term: int, vote: str | None) -> None:
        """An error in here would leave the engine between two roles, e.g. leader of a term that
        it did not win. So it goes on, and the node keeps silent instead."""
        try:
            SyncObj._SyncObj__setCurrentTerm(self, term, vote)
        except DiskFull as error:
            self._core.disk_full(str(error))

    def _SyncObj__applyLogEntries(self) -> bool:
        self._core.hold_commit()
        return False

    def _SyncObj__doChangeCluster(self, request: Sequence[Any], reverse: bool = False) -> bool:
        change = Change.from_wire(request)
        self._core.set_voters(change.before if reverse else change.after)
        return True

    def _SyncObj__getEntries(
        self, start: int | None, count: int | None = None, max_bytes: int | None = None
    ) -> Sequence[Entry]:
        return self._core.entries_from(start, count, max_bytes is not None)

    def _SyncObj__sendAppendEntries(self) -> None:
        """A peer whose next entry is compacted away gets a heartbeat: for it, pysyncobj would
        spin until the heartbeat period is over, sending snapshot requests (1263, 1312-1335)."""
        self._sent = self._core.sendable()
        connected = self._SyncObj__connectedNodes
        behind = {node for node in connected if self._core.is_behind(node.id)}
        for node in sorted(behind, key=str):
            self._core.send_heartbeat(node.id)
        connected -= behind
        SyncObj._SyncObj__sendAppendEntries(self)
        connected |= behind

    def send_soon(self) -> None:
        self._sent = (0, 0)

    def _checkCommandsToApply(self) -> None:
        if self._isLeader() and self._sent != self._core.sendable():
            self._SyncObj__sendAppendEntries()


class Core:
    """One node's Raft state, advanced by tick() and deliver(); effects go to the hooks."""

    def __init__(
        self,
        node_id: str,
        voters: Collection[str],
        *,
        journal: Journal,
        hooks: Hooks,
        config: RaftConfig,
        clock: Callable[[], float],
        rng: random.Random,
        observers: Collection[str] = (),
        snapshot: SnapshotMeta | None = None,
    ) -> None:
        self.node_id = node_id
        self.config = config
        self.rng = rng
        self.observers = set(observers)
        self._journal = journal
        self._hooks = hooks
        self._running = Running(clock)
        self._commit_floor = 0
        align(journal, snapshot)
        self.voters = frozenset(voters_at_start(journal, snapshot, voters))
        self._wire = _Wire(hooks.send)
        with self._running:
            self._engine = _Engine(self, self.peers, _conf(config, journal), self._wire)
        if snapshot is not None:
            self._engine._SyncObj__raftLastApplied = snapshot.index
            self._commit(max(self.commit_index, snapshot.index))

    # --- what it is ----------------------------------------------------------------------

    @property
    def role(self) -> str:
        return _ROLES[self._engine._SyncObj__raftState]

    @property
    def is_leader(self) -> bool:
        return bool(self._engine._isLeader())

    @property
    def leader(self) -> str | None:
        node = self._engine._getLeader()
        return None if node is None else str(node.id)

    @property
    def term(self) -> int:
        return int(self._engine.raftCurrentTerm)

    @property
    def commit_index(self) -> int:
        return int(self._engine.raftCommitIndex)

    @property
    def applied_index(self) -> int:
        return int(self._engine.raftLastApplied)

    @property
    def first_index(self) -> int:
        return self._journal.first_index

    @property
    def last_index(self) -> int:
        return self._journal.last_index

    @property
    def last_term(self) -> int:
        return self._journal.term(len(self._journal) - 1)

    @property
    def peers(self) -> frozenset[str]:
        """The other voters."""
        return self.voters - {self.node_id}

    @property
    def is_voter(self) -> bool:
        return self.node_id in self.voters

    @property
    def election_deadline(self) -> float:
        """When the election timer runs out (of use on followers and candidates)."""
        return float(self._engine._SyncObj__raftElectionDeadline)

    @election_deadline.setter
    def election_deadline(self, at: float) -> None:
        self._engine._SyncObj__raftElectionDeadline = at

    def is_quorum(self, ids: Collection[str]) -> bool:
        return 2 * len(self.voters.intersection(ids)) > len(self.voters)

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`, or None when the journal does not hold it."""
        at = index - self.first_index
        return self._journal.term(at) if 0 <= at < len(self._journal) else None

    def may_commit(self) -> bool:
        """Leader: whether a majority, this node counted, has acknowledged more than is committed."""
        commit = self.commit_index
        if not self.is_leader or self.last_index == commit:
            return False
        return self.is_quorum({p for p in self.peers if self.match_index(p) > commit} | {self.node_id})

    def match_index(self, peer: str) -> int:
        return int(self._engine._SyncObj__raftMatchIndex.get(PeerId(peer), 0))

    def next_index(self, peer: str) -> int:
        return int(self._engine._SyncObj__raftNextIndex.get(PeerId(peer), 0))

    def replicates_to(self, peer: str) -> bool:
        """Whether this node, as leader, keeps a next and a match index for `peer`."""
        return PeerId(peer) in self._engine._SyncObj__raftMatchIndex

    # --- events --------------------------------------------------------------------------

    def tick(self) -> bool:
        """advance(), then apply()."""
        self.advance()
        return self.apply()

    def advance(self) -> None:
        """Let time pass and do what is due, all but applying: elections, commit, messages."""
        self._commit_floor = self.commit_index
        with self._running:
            self._engine.doTick(0)

    def apply(self) -> bool:
        """Apply the next batch of what is committed. True: there is more."""
        with self._running:
            for payload, index, term in self._next_to_apply():
                # First, so that nothing an observer does can make an entry be applied twice.
                self._engine._SyncObj__raftLastApplied = index
                self._hooks.apply(index, term, payload)
        return self.applied_index < self.commit_index

    def deliver(self, peer: str, message: Message) -> None:
        """A message of a kind that pysyncobj knows, already validated and guarded."""
        with self._running:
            self._wire._onMessageReceived(PeerId(peer), message)

    def peer_up(self, peer: str) -> None:
        self._wire.up.add(peer)
        if peer in self.voters:
            self._wire._onNodeConnected(PeerId(peer))
        elif peer in self.observers:
            self._wire._onReadonlyNodeConnected(PeerId(peer))

    def peer_down(self, peer: str) -> None:
        self._wire.up.discard(peer)
        if peer in self.voters:
            self._wire._onNodeDisconnected(PeerId(peer))
        elif peer in self.observers:
            self._wire._onReadonlyNodeDisconnected(PeerId(peer))

    def set_observers(self, ids: Collection[str]) -> None:
        """Who is replicated to while it has no vote. Voters among them count as voters."""
        before, self.observers = self.observers, set(ids) - {self.node_id}
        with self._running:
            for peer in sorted((self.observers - before - self.voters) & self._wire.up):
                self._wire._onReadonlyNodeConnected(PeerId(peer))
            for peer in sorted((before - self.observers - self.voters) & self._wire.up):
                self._wire._onReadonlyNodeDisconnected(PeerId(peer))

    def adopt_term(self, peer: str, term: int) -> None:
        """Step down to follower of `term`: a vote request that cannot be granted does just that."""
        self.deliver(peer, {"type": "request_vote", "term": term, "last_log_term": -1, "last_log_index": 0})

    # --- what a leader does --------------------------------------------------------------

    def append(self, command: bytes) -> int:
        """Append a regular command to a leader's log; its index. Sent by the next tick."""
        return self._append(entries.REGULAR + command)

    def change(self, change: Change) -> int:
        """Append a membership change to a leader's log, in effect from now on; its index."""
        self.set_voters(change.after)
        return self._append(change.encode())

    def _append(self, payload: bytes) -> int:
        index = self.last_index + 1
        self._journal.add(payload, index, self.term)
        return index

    def changes_after(self, index: int) -> bool:
        """Whether a membership change stands in the log above `index`."""
        return bool(self._journal.positions(entries.MEMBERSHIP, index + 1 - self.first_index))

    def acknowledged(self, peer: str, message: Message, alive_at: float) -> None:
        """Deliver a reply to append_entries, without letting it rewind the pipeline (1080-1082).

        alive_at: what it proves; pysyncobj would take the time of its arrival (1083).
        """
        key, nexts = PeerId(peer), self._engine._SyncObj__raftNextIndex
        responded = self._engine._SyncObj__lastResponseTime
        sent, last = nexts[key], responded.get(key, alive_at)
        if message["reset"]:
            matches = self._engine._SyncObj__raftMatchIndex
            matches[key] = min(matches[key], message["next_node_idx"] - 1)
        self.deliver(peer, message)
        responded[key] = max(last, alive_at)
        if message["reset"]:
            self._engine.send_soon()  # the peer waits for it; do not wait for the next heartbeat
        else:
            nexts[key] = max(nexts[key], sent)

    def install(self, snapshot: SnapshotMeta) -> None:
        """Jump to a snapshot whose state the state machine has taken over already."""
        align(self._journal, snapshot)
        self._engine._SyncObj__raftLastApplied = max(self.applied_index, snapshot.index)
        self._commit(max(self.commit_index, snapshot.index))
        if not self.changes_after(snapshot.index):
            self.set_voters(snapshot.voters)

    def is_behind(self, peer: str) -> bool:
        """Whether the log no longer reaches back to what `peer`, if replicated to, needs next."""
        return self.replicates_to(peer) and self.next_index(peer) <= self.first_index

    def send_heartbeat(self, peer: str) -> None:
        self._hooks.send(peer, {"type": "heartbeat", "term": self.term, "commit_index": self.commit_index})

    # --- what the engine asks back -------------------------------------------------------

    def may_campaign(self) -> bool:
        return self.is_voter and self._hooks.may_campaign()

    def disk_full(self, reason: str) -> None:
        self._hooks.disk_full(reason)

    def sendable(self) -> tuple[int, int]:
        return self.last_index, self.commit_index

    def entries_from(self, start: int | None, count: int | None, batch: bool) -> Sequence[Entry]:
        """Entries from index `start` on: `count` of them, or as many as one message may carry."""
        if start is None or start < self.first_index:
            return []
        at = start - self.first_index
        if not batch:
            return self._journal[at:] if count is None else self._journal[at : at + count]
        return self._portion(at, len(self._journal), self.config.append_batch_bytes)

    def _portion(self, start: int, stop: int, bytes_max: int) -> Sequence[Entry]:
        """Entries at the journal's positions from `start` on, of `bytes_max` together, or one."""
        size, at = 0, start
        while at < stop:
            size += self._journal.size(at)
            if at > start and size > bytes_max:
                break
            at += 1
        return self._journal[start:at]

    def hold_commit(self) -> None:
        """Hold a leader's commit back to what it holds durably itself.

        Within a tick only a leader's commit rises. It is not asked whether it leads: it may
        just have counted, and then stepped down for want of a quorum.
        """
        commit = self.commit_index
        if commit > self._commit_floor:
            allowed = max(self._commit_floor, min(commit, self._hooks.commit_limit()))
            if allowed != commit:
                self._commit(allowed)

    def _next_to_apply(self) -> Sequence[Entry]:
        count = min(self.commit_index - self.applied_index, self.config.apply_batch)
        if count <= 0:
            return ()
        at = self.applied_index + 1 - self.first_index
        return self._portion(at, at + count, self.config.apply_batch_bytes)

    def _commit(self, index: int) -> None:
        self._engine._SyncObj__raftCommitIndex = index
        self._journal.setRaftCommitIndex(index)

    def set_voters(self, ids: Iterable[str]) -> None:
        """Make `ids` the membership, in the core's terms: one addition or removal per node."""
        before, self.voters = self.voters, frozenset(ids)
        if before == self.voters:
            return
        engine = self._engine
        with self._running:
            for peer in sorted(self.voters - before - {self.node_id}):
                if peer in self.observers and peer in self._wire.up:
                    self._wire._onReadonlyNodeDisconnected(PeerId(peer))
                SyncObj._SyncObj__doChangeCluster(engine, ("add", peer))
                engine._SyncObj__lastResponseTime[PeerId(peer)] = now()
            for peer in sorted(before - self.voters - {self.node_id}):
                SyncObj._SyncObj__doChangeCluster(engine, ("rem", peer))
                if peer in self.observers and peer in self._wire.up:
                    self._wire._onReadonlyNodeConnected(PeerId(peer))
        self._hooks.membership_changed()


def _conf(config: RaftConfig, journal: Journal) -> SyncObjConf:
    """pysyncobj's settings: everything that it would do by itself is off."""
    never = 10**15
    return SyncObjConf(
        autoTick=False,
        journalFile=journal,
        dynamicMembershipChange=True,
        raftMinTimeout=config.election_timeout_min_s,
        raftMaxTimeout=config.election_timeout_max_s,
        appendEntriesPeriod=config.heartbeat_s,
        leaderFallbackTimeout=config.election_timeout_max_s,
        connectionTimeout=config.election_timeout_max_s * 100,
        # Above the largest entry, or the core would cut entries into pickles (1280-1302).
        appendEntriesBatchSizeBytes=2 * BATCH_BYTES_MAX + KIB,
        logCompactionMinEntries=never,
        logCompactionMinTime=never,
        pollerType="select",
    )
