"""pysyncobj 0.3.17 and the seams through which core.py drives it.

pysyncobj supplies roles, elections, next and match indexes, batching and the commit rule.
Everything around it is ours: journal, transport, clock, codec, apply. This is the only
module that imports it. MODULE_NAMES, OVERRIDDEN and ATTRIBUTES list each name of it that we
touch without its promise, and the line that makes it necessary. The version is pinned
exactly, and tests/raft/test_engine.py fails with a readable message when one has moved.

Time inside is that of the core that runs (core_clock.py): calls of Engine and Wire must be
made within its `Running`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Protocol

import pysyncobj.syncobj as syncobj
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.node import Node as BasePeerId
from pysyncobj.transport import Transport
from pysyncobj.version import VERSION

from raftstore import entries
from raftstore.config import RaftConfig
from raftstore.core_clock import now
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

# Of append_batch_bytes: what a peer that is owed more gets before it has acknowledged it. Several, so that
# it reads the next while it writes one; few, since both ends do all of it in one pass of their loops.
BATCHES_PER_PORTION = 4

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
    PrivateName("__getCurrentLogIndex", 1132, "reads the last entry to know its index"),
    PrivateName("__getPrevLogIndexTerm", 1138, "reads an entry to know its term"),
    PrivateName("__getEntries", 1272, "copies the whole tail for each batch"),
    PrivateName("__sendAppendEntries", 1251, "to know what was sent; spins on peers that need a snapshot"),
    PrivateName("__tryLogCompaction", 1421, "compaction is ours"),
)
# Attributes of an instance that we read or write.
ATTRIBUTES = (
    PrivateName("_poller", 205, "sockets of its own: none wanted"),
    PrivateName("__serializer", 198, "snapshots travel out of band, never as pickles in messages"),
    PrivateName(
        "__connectedNodes", 154, "to leave out, for one send, peers that need a snapshot or have enough"
    ),
    PrivateName("__raftState", 157, "the role; pysyncobj tells only whether it leads"),
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
    `str` are compared and hashed in C, and a plain `str` finds the same entry."""

    __init__ = object.__init__
    __hash__ = str.__hash__
    __eq__ = str.__eq__
    __ne__ = str.__ne__
    id = property(str.__str__)


class _Codec:
    """Stands in for the module `pickle` inside pysyncobj.syncobj."""

    loads = staticmethod(entries.unpack)
    dumps = staticmethod(entries.pack)


syncobj.pickle = _Codec
syncobj.createJournal = lambda journal: journal
syncobj.monotonicTime = now


class Wire(Transport):  # type: ignore[misc]  # pysyncobj has no types
    """The engine's transport: hands messages to `send`, and knows which peers are reachable.

    A peer is announced either as a voter or, without a vote, as an observer.
    """

    ready = True

    def __init__(self, send: Callable[[str, Message], None]) -> None:
        super().__init__(None, None, [])
        self._send = send
        self.on_sent: Callable[[PeerId, Message], None] = lambda node, message: None
        self.up: set[str] = set()

    def connected(self, peer: str, *, voter: bool) -> None:
        (self._onNodeConnected if voter else self._onReadonlyNodeConnected)(PeerId(peer))

    def disconnected(self, peer: str, *, voter: bool) -> None:
        (self._onNodeDisconnected if voter else self._onReadonlyNodeDisconnected)(PeerId(peer))

    def deliver(self, peer: str, message: Message) -> None:
        self._onMessageReceived(PeerId(peer), message)

    def send(self, node: PeerId, message: Message) -> bool:
        self._send(node.id, message)
        self.on_sent(node, message)
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
    """In place of pysyncobj's serializer, which is asked for each absent peer."""

    def cancelTransmisstion(self, node: PeerId) -> None:
        """Nothing is ever in transmission."""

    def setTransmissionData(self, data: object) -> bool:
        return False


class Owner(Protocol):
    """What the engine asks of the core around it (core.Core)."""

    node_id: str

    @property
    def last_index(self) -> int: ...

    def may_campaign(self) -> bool: ...

    def election_timeout_s(self) -> float: ...

    def disk_full(self, reason: str) -> None: ...

    def hold_commit(self) -> None: ...

    def set_voters(self, ids: Iterable[str], /) -> None: ...

    def entries_from(self, start: int | None, count: int | None, batch: bool) -> Sequence[Entry]: ...

    def term_at(self, index: int, /) -> int | None: ...

    def sendable(self) -> tuple[int, int]: ...

    def is_behind(self, peer: str, /) -> bool: ...

    def send_heartbeat(self, peer: str, /) -> None: ...

    def send_nothing_new(self, peer: str, /) -> None: ...


def _named(attribute: str) -> property:
    """A name for an attribute, read in C: a few hundred times for each entry that is alone in its batch."""
    return property(attrgetter(attribute), lambda self, value: setattr(self, attribute, value))


class Engine(SyncObj):  # type: ignore[misc]  # pysyncobj has no types
    """pysyncobj's state machine with OVERRIDDEN overridden, and names for what we read and write."""

    def __init__(
        self, owner: Owner, peers: Iterable[str], config: RaftConfig, journal: Journal, wire: Wire
    ) -> None:
        self._owner = owner
        self._sent: tuple[int, int] = (0, 0)
        self._portion_bytes = BATCHES_PER_PORTION * config.append_batch_bytes
        self._sending: dict[PeerId, int] = {}  # bytes of entries to each, in the step that runs
        self._left_out: set[PeerId] = set()  # of that step
        self._portions: dict[PeerId, int] = {}  # where each ends that a peer has not acknowledged
        super().__init__(
            *(PeerId(owner.node_id), [PeerId(p) for p in peers], _conf(config, journal)),
            nodeClass=PeerId,
            transport=wire,
        )
        self._poller = _NoSockets()
        self._SyncObj__serializer = _NoSnapshots()
        wire.on_sent = self._count

    # --- what it holds -------------------------------------------------------------------

    leads = property(SyncObj._isLeader)
    term = property(attrgetter("_SyncObj__raftCurrentTerm"))
    # All that tells one role from another: (state, leader, term).
    standing = property(
        attrgetter("_SyncObj__raftState", "_SyncObj__raftLeader", "_SyncObj__raftCurrentTerm")
    )
    commit_index = _named("_SyncObj__raftCommitIndex")
    applied_index = _named("_SyncObj__raftLastApplied")
    # By peer, kept while it leads.
    next_indexes = property(attrgetter("_SyncObj__raftNextIndex"))
    match_indexes = property(attrgetter("_SyncObj__raftMatchIndex"))
    responded_at = property(attrgetter("_SyncObj__lastResponseTime"))

    @property
    def role(self) -> str:
        return _ROLES[self._SyncObj__raftState]

    @property
    def leader(self) -> str | None:
        node = self._SyncObj__raftLeader
        return None if node is None else str(node)

    @property
    def election_deadline(self) -> float:
        return float(self._SyncObj__raftElectionDeadline)

    @election_deadline.setter
    def election_deadline(self, at: float) -> None:
        self._SyncObj__raftElectionDeadline = at

    # --- what is asked of it -------------------------------------------------------------

    def step(self) -> None:
        """Let time pass: elections, commit, messages."""
        self.doTick(0)

    def add_voter(self, peer: str) -> None:
        SyncObj._SyncObj__doChangeCluster(self, ("add", peer))
        self.responded_at[PeerId(peer)] = now()

    def remove_voter(self, peer: str) -> None:
        SyncObj._SyncObj__doChangeCluster(self, ("rem", peer))

    def send_soon(self) -> None:
        """With the next step, also when nothing is new."""
        self._sent = (0, 0)

    # --- OVERRIDDEN ----------------------------------------------------------------------

    def _SyncObj__connectedToAnyone(self) -> bool:
        return self._owner.may_campaign()

    def _SyncObj__generateRaftTimeout(self) -> float:
        return self._owner.election_timeout_s()

    def _SyncObj__setCurrentTerm(self, term: int, vote: str | None) -> None:
        """An error in here would leave the engine between two roles, e.g. leader of a term that
        it did not win. So it goes on, and the node keeps silent instead."""
        self._portions.clear()
        try:
            SyncObj._SyncObj__setCurrentTerm(self, term, vote)
        except DiskFull as error:
            self._owner.disk_full(str(error))

    def _SyncObj__applyLogEntries(self) -> bool:
        self._owner.hold_commit()
        return False

    def _SyncObj__doChangeCluster(self, request: Sequence[Any], reverse: bool = False) -> bool:
        change = Change.from_wire(request)
        self._owner.set_voters(change.before if reverse else change.after)
        return True

    def _SyncObj__getCurrentLogIndex(self) -> int:
        return self._owner.last_index

    def _SyncObj__getPrevLogIndexTerm(self, next_index: int) -> tuple[int | None, int | None]:
        term = self._owner.term_at(next_index - 1)
        return (None, None) if term is None else (next_index - 1, term)

    def _SyncObj__tryLogCompaction(self) -> None:
        """See compaction.py."""

    def _SyncObj__getEntries(
        self, start: int | None, count: int | None = None, max_bytes: int | None = None
    ) -> Sequence[Entry]:
        return self._owner.entries_from(start, count, max_bytes is not None)

    def _SyncObj__sendAppendEntries(self) -> None:
        """A peer whose next entry is compacted away gets a heartbeat: for it, pysyncobj would
        spin until the heartbeat period is over, sending snapshot requests (1263, 1312-1335).

        One that has a portion to acknowledge gets no more entries; a peer gets a portion at the most, as
        pysyncobj goes on until the clock says that it took long (1336), and a loop's stands still meanwhile."""
        self._sent = self._owner.sendable()
        connected = self._SyncObj__connectedNodes
        behind = {node for node in connected if self._owner.is_behind(node.id)}
        busy = {node for node in self._portions if self._is_busy(node)} & connected - behind
        for node in sorted(behind, key=str):
            self._owner.send_heartbeat(node.id)
        for node in sorted(busy, key=str):
            self._owner.send_nothing_new(node.id)
        self._left_out, self._sending = behind | busy, {}
        connected -= self._left_out
        SyncObj._SyncObj__sendAppendEntries(self)
        connected |= self._left_out

    def _count(self, node: PeerId, message: Message) -> None:
        """Who got its portion passes for disconnected until the step ends: then pysyncobj stops (1307)."""
        sent = message.get("entries")
        if not sent:
            return
        self._sending[node] = self._sending.get(node, 0) + sum(len(command) for command, _, _ in sent)
        if self._sending[node] >= self._portion_bytes and sent[-1][1] < self._sent[0]:
            self._portions[node] = sent[-1][1]
            self._SyncObj__connectedNodes.discard(node)
            self._left_out.add(node)

    def _is_busy(self, node: PeerId) -> bool:
        """Whether what it was sent last was a portion, which it has not acknowledged."""
        end = self._portions.get(node, 0)
        return bool(self.match_indexes.get(node, 0) < end < self.next_indexes.get(node, 0))

    def _checkCommandsToApply(self) -> None:
        if not self._isLeader():
            return
        done = [node for node in self._portions if not self._is_busy(node)]
        for node in done:
            del self._portions[node]
        if done or self._sent != self._owner.sendable():
            self._SyncObj__sendAppendEntries()


def _conf(config: RaftConfig, journal: Journal) -> SyncObjConf:
    """pysyncobj's settings: everything that it would do by itself is off."""
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
        pollerType="select",
    )
