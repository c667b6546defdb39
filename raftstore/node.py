"""One replica's consensus, sans-io: core, guard, journal and state machine composed.

Events go in by receive(), tick(), durable(), peer_up() and peer_down(); requests by
propose(), read_index(), transfer_leadership(), add_member() and remove_member(). Effects
come out through drain_outbox() and callbacks. There is no socket, thread, file or clock
in here, so a simulator can run hundreds of years of it (chaos/sim), and the shell
(an asyncio loop) stays thin:

    on bytes from a peer      node.receive(peer, message), then kick
    on a timer, each 10 ms    kick
    on fsync done             node.durable(), then kick
    kick                      node.tick() until it returns False; send drain_outbox(); kick the journal

Callbacks may call back into the node; they must not raise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from raftstore import entries
from raftstore.config import RaftConfig
from raftstore.core import CANDIDATE, FOLLOWER, LEADER, Core
from raftstore.core_start import Hooks, SnapshotMeta
from raftstore.entries import Change
from raftstore.guard import Guard
from raftstore.guard_messages import BadMessage, Message
from raftstore.guard_port import Port
from raftstore.guard_read import OnRead
from raftstore.journal import Journal
from raftstore.limits import BATCH_BYTES_MAX

# Proposals not yet applied. Each may be a batch of a thousand transactions, so this is plenty.
PROPOSALS_WAITING_MAX = 10_000


class Machine(Protocol):
    """The state that the log builds."""

    def apply(self, index: int, term: int, command: bytes, /) -> object:
        """Take over a committed command; what it returns reaches the proposer. Must not raise."""
        ...


class Fate(StrEnum):
    """What became of a proposal."""

    APPLIED = "applied"
    LOST = "lost"  # certainly never applied: another entry was committed in its place
    UNKNOWN = "unknown"  # leadership was lost before it was known; retry with the same request id
    REFUSED = "refused"  # not taken in: nothing was written


@dataclass(frozen=True, slots=True)
class ProposeResult:
    """index, term: of the entry (0 when refused). applied: the machine's answer. reason: why refused."""

    fate: Fate
    index: int = 0
    term: int = 0
    applied: object = None
    reason: str = ""


OnDone = Callable[[ProposeResult], None]


@dataclass(frozen=True, slots=True)
class _Proposal:
    term: int
    on_done: OnDone


@dataclass(slots=True)
class _Transfer:
    to: str
    deadline: float
    told: bool = False


def _ignore(*_: object) -> None:
    """The default of every callback."""


class Node:
    """See the module. Attributes set by the shell:

    on_role(role, leader, term): any of the three changed.
    on_applied(index): the state machine stands at `index` now (no-ops and changes count too).
    on_membership(voters): sorted ids; in effect as soon as they are in the log.
    on_snapshot_needed(peer): said while leader, with each heartbeat, until `peer` has caught up.
    """

    guard_type = Guard

    def __init__(
        self,
        node_id: str,
        voters: Sequence[str],
        *,
        journal: Journal,
        machine: Machine,
        config: RaftConfig,
        clock: Callable[[], float],
        rng: random.Random,
        observers: Sequence[str] = (),
        snapshot: SnapshotMeta | None = None,
    ) -> None:
        """voters: of the first start; later the log and the snapshot know better.

        snapshot: where `machine` stands already; None: at the beginning.
        observers: who is replicated to without a vote.
        """
        self.id = node_id
        self.machine = machine
        self.config = config
        self._journal = journal
        self._clock = clock
        self._outbox: list[tuple[str, Message]] = []
        self._proposals: dict[int, _Proposal] = {}
        self._transfer: _Transfer | None = None
        self._leader_until = 0.0
        self.read_only_reason = ""
        self.on_role: Callable[[str, str | None, int], None] = _ignore
        self.on_applied: Callable[[int], None] = _ignore
        self.on_membership: Callable[[Sequence[str]], None] = _ignore
        self.on_snapshot_needed: Callable[[str], None] = _ignore
        self._core = Core(
            node_id,
            voters,
            journal=journal,
            hooks=Hooks(
                send=self._send_guarded,
                may_campaign=self._may_campaign,
                commit_limit=self._commit_limit,
                apply=self._apply,
                membership_changed=self._membership_changed,
                disk_full=self.pause_writes,
            ),
            config=config,
            clock=clock,
            rng=rng,
            observers=observers,
            snapshot=snapshot,
        )
        port = Port(
            core=self._core,
            journal=journal,
            config=config,
            clock=clock,
            send=self._send,
            snapshot_needed=lambda peer: self.on_snapshot_needed(peer),
            epoch=rng.getrandbits(48),
        )
        self.guard = self.guard_type(port)
        self.counts = port.counts
        self._seen: tuple[str, str | None, int] = (self.role, None, self.term)
        self._standing: tuple[object, ...] = ()

    # --- state ---------------------------------------------------------------------------

    @property
    def role(self) -> str:
        """leader, follower, candidate, or observer (has no vote)."""
        return self._core.role if self._core.is_voter else "observer"

    @property
    def is_leader(self) -> bool:
        return self._core.is_leader

    @property
    def leader(self) -> str | None:
        """Who leads as far as this node knows."""
        return self._core.leader

    @property
    def term(self) -> int:
        return self._core.term

    @property
    def commit_index(self) -> int:
        return self._core.commit_index

    @property
    def applied_index(self) -> int:
        return self._core.applied_index

    @property
    def last_index(self) -> int:
        return self._core.last_index

    @property
    def voters(self) -> tuple[str, ...]:
        return tuple(sorted(self._core.voters))

    @property
    def election_deadline(self) -> float:
        """When the election timer runs out, by the clock given; of use unless leader. Settable, for
        tests: the timer is random anyway, so any moment is a legal one."""
        return self._core.election_deadline

    @election_deadline.setter
    def election_deadline(self, at: float) -> None:
        self._core.election_deadline = at

    @property
    def transferring(self) -> str | None:
        """To whom leadership is being handed over, if to anyone."""
        return self._transfer.to if self._transfer else None

    def match_index(self, peer: str) -> int:
        """Leader: how far `peer`'s log is known to equal ours."""
        return self._core.match_index(peer)

    def term_at(self, index: int) -> int | None:
        """The term of the entry at `index`; None: not in the journal (any more)."""
        return self._core.term_at(index)

    def voters_at(self, index: int) -> tuple[str, ...]:
        """The membership as of `index` (at most the applied index): what a snapshot there must say."""
        start = index + 1 - self._core.first_index
        changes = self._journal.positions(entries.MEMBERSHIP, start)
        return Change.decode(self._journal[changes[0]][0]).before if changes else self.voters

    def has_quorum(self, now: float) -> bool:
        """Leader: a majority answered within an election timeout. Others: they hear a leader.

        `now` in seconds of the clock given at the start.
        """
        if self.is_leader:
            return self.guard.append.quorum_heard(self.config.election_timeout_min_s)
        silent_s = now - self.guard.append.heard_leader_at
        return self.leader is not None and silent_s < self.config.election_timeout_max_s

    def membership_committed(self) -> bool:
        """Leader: the voters are those of a committed entry, and nobody can undo them."""
        core = self._core
        return core.term_at(core.commit_index) == core.term and not core.changes_after(core.commit_index)

    def has_work(self) -> bool:
        """Whether a tick now, and not only when its time comes, would commit, apply or send something."""
        core = self._core
        return bool(self._outbox) or core.applied_index < core.commit_index or core.may_commit()

    # --- events --------------------------------------------------------------------------

    def receive(self, peer: str, message: object) -> BadMessage | None:
        """A message from `peer`, which the transport has authenticated. Never raises over its content."""
        bad = self.guard.incoming(peer, message)
        self._after_event()
        return bad

    def tick(self) -> bool:
        """advance(), then apply(). True: tick again, there is more to apply."""
        self.advance()
        return self.apply()

    def advance(self) -> None:
        """Let time pass: elections, heartbeats, commit, and messages for all that.

        What is committed should be told before it is applied here: the others then apply meanwhile.
        """
        self._core.advance()
        self.guard.tick()
        self._hand_over_if_read_only()
        self._advance_transfer()
        self._after_event()

    def apply(self) -> bool:
        """Let the machine take over the next batch of what is committed. True: there is more."""
        return self._core.apply()

    def durable(self) -> None:
        """The journal's durable_lsn has risen; a tick should follow, which may commit."""
        self.read_only_reason = ""
        self.guard.durable()

    def peer_up(self, peer: str) -> None:
        self._core.peer_up(peer)

    def peer_down(self, peer: str) -> None:
        self._core.peer_down(peer)
        self.guard.peer_down(peer)

    def drain_outbox(self) -> list[tuple[str, Message]]:
        """(peer, message) to send, in order; messages are msgpack-able."""
        if not self._journal.hard_state_durable:
            # Messages may show a term or a vote that is in memory only, so they wait for the disk. Of a
            # disk that is full or stalls they do not: losing them is as harmless as a network that does.
            if self.read_only_reason:
                self._outbox.clear()
            return []
        outbox, self._outbox = self._outbox, []
        return outbox

    # --- requests ------------------------------------------------------------------------

    def propose(self, command: bytes, on_done: OnDone) -> None:
        """Leader only: append `command` (at most BATCH_BYTES_MAX). on_done is called once."""
        if len(command) > BATCH_BYTES_MAX:
            refusal = f"a command of {len(command)} bytes exceeds the limit of {BATCH_BYTES_MAX}"
        else:
            refusal = self._refusal()
        if refusal:
            on_done(ProposeResult(Fate.REFUSED, reason=refusal))
            return
        self._await(self._core.append(command), on_done)

    def read_index(self, on_done: OnRead) -> None:
        """Any role. on_done(index): state applied up to it is linearizable; on_done(None): ask again."""
        self.guard.read.read(on_done)

    def transfer_leadership(self, to: str) -> str:
        """Leader only: let `to` succeed. Returns "" or why not; success shows as on_role.

        New proposals are refused until it is done, or given up after an election timeout.
        """
        if not self.is_leader:
            return "not the leader"
        if self._transfer is not None:
            return f"already handing over to {self._transfer.to}"
        if to == self.id or to not in self._core.voters:
            return f"{to} is not another voter of {', '.join(self.voters)}"
        self._transfer = _Transfer(to, self._clock() + 2 * self.config.election_timeout_max_s)
        return ""

    def add_member(self, node_id: str, on_done: OnDone) -> None:
        """Leader only: let `node_id` vote from now on. One change at a time."""
        self._change("add", node_id, on_done)

    def remove_member(self, node_id: str, on_done: OnDone) -> None:
        """Leader only: `node_id` votes no more. A leader cannot remove itself: transfer first."""
        self._change("rem", node_id, on_done)

    def set_observers(self, ids: Collection[str]) -> None:
        """Any role: from now on replicate to `ids` too, as leader; who has a vote keeps it."""
        self._core.set_observers(ids)

    def install_snapshot(self, snapshot: SnapshotMeta, restore: Callable[[], None]) -> bool:
        """Take over a snapshot that is durable on this node already; `restore` swaps the machine's state.

        Returns False, changing nothing, when this node is past it.
        """
        if snapshot.index <= self.applied_index:
            return False
        restore()
        self._core.install(snapshot)
        self._forget_proposals([i for i in self._proposals if i <= snapshot.index])
        self.on_applied(snapshot.index)
        return True

    def pause_writes(self, reason: str) -> None:
        """The disk is full or stalls: refuse proposals, hand leadership over, start no election; "" ends it."""
        self.read_only_reason = reason

    # --- inside --------------------------------------------------------------------------

    def _refusal(self) -> str:
        if not self.is_leader:
            return "not the leader"
        if self.read_only_reason:
            return self.read_only_reason
        if self._transfer is not None:
            return f"leadership is being handed over to {self._transfer.to}"
        if len(self._proposals) >= PROPOSALS_WAITING_MAX:
            return f"{PROPOSALS_WAITING_MAX} proposals are waiting already"
        return ""

    def _change(self, op: str, node_id: str, on_done: OnDone) -> None:
        refusal = self._refusal() or self._change_refusal(op, node_id)
        if refusal:
            on_done(ProposeResult(Fate.REFUSED, reason=refusal))
            return
        self._await(self._core.change(Change.of(op, node_id, self._core.voters)), on_done)

    def _await(self, index: int, on_done: OnDone) -> None:
        self._proposals[index] = _Proposal(self.term, on_done)
        self._leader_until = self._clock()

    def _change_refusal(self, op: str, node_id: str) -> str:
        """Single-server changes are safe one at a time, after an entry of the own term (thesis 4.1;
        the latter: Ongaro, raft-dev 2015, "bug in single-server membership changes")."""
        core = self._core
        if op == "rem" and node_id == self.id:
            return "the leader cannot remove itself: transfer leadership first"
        if core.term_at(core.commit_index) != core.term:
            return "nothing of this term is committed yet: try again"
        if core.changes_after(core.commit_index):
            return "another membership change is under way: try again"
        try:
            Change.of(op, node_id, core.voters)
        except ValueError as error:
            return str(error)
        return ""

    def _send(self, peer: str, message: Message) -> None:
        self._outbox.append((peer, message))

    def _send_guarded(self, peer: str, message: Message) -> None:
        self.guard.outgoing(peer, message)

    def _may_campaign(self) -> bool:
        return not self.read_only_reason and self.guard.election.may_campaign()

    def _hand_over_if_read_only(self) -> None:
        if self.read_only_reason and self.is_leader and self._transfer is None and self._core.peers:
            self.transfer_leadership(max(sorted(self._core.peers), key=self.match_index))

    def _commit_limit(self) -> int:
        return self._journal.durable_index

    def _apply(self, index: int, term: int, payload: bytes) -> None:
        applied: object = None
        if payload[:1] == entries.REGULAR:
            applied = self.machine.apply(index, term, payload[1:])
        proposal = self._proposals.pop(index, None)
        self.on_applied(index)
        if proposal is not None:
            fate = Fate.APPLIED if proposal.term == term else Fate.LOST
            proposal.on_done(
                ProposeResult(fate, index, proposal.term, applied if fate is Fate.APPLIED else None)
            )

    def _membership_changed(self) -> None:
        self.on_membership(self.voters)

    def _advance_transfer(self) -> None:
        transfer = self._transfer
        if transfer is None:
            return
        if not self.is_leader or self._clock() > transfer.deadline or transfer.to not in self._core.voters:
            self._transfer = None
        elif not transfer.told and self.match_index(transfer.to) == self.last_index:
            transfer.told = True
            self._send(transfer.to, {"type": "timeout_now", "term": self.term})

    def _after_event(self) -> None:
        """Notice what changed, and tell proposals of a former leader that nobody knows."""
        standing = self._core.standing
        if standing != self._standing:
            self._standing = standing
            self._notice_role()
        if not self._proposals:
            return
        if self.is_leader:
            self._leader_until = self._clock()
        elif self._clock() - self._leader_until > self.config.election_timeout_max_s:
            self._forget_proposals(list(self._proposals))

    def _notice_role(self) -> None:
        now_seen = (self.role, self.leader, self.term)
        if now_seen == self._seen:
            return
        became_leader = self.is_leader and self._seen[::2] != now_seen[::2]
        if became_leader:
            self.guard.append.became_leader()
            # Of an earlier leadership, and cut since: another log may still hold them.
            cut = [i for i, p in self._proposals.items() if self._core.term_at(i) != p.term]
            self._forget_proposals(cut)
        self._seen = now_seen
        self.on_role(*now_seen)

    def _forget_proposals(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            proposal = self._proposals.pop(index)
            proposal.on_done(ProposeResult(Fate.UNKNOWN, index, proposal.term))


__all__ = ["CANDIDATE", "FOLLOWER", "LEADER", "Fate", "Machine", "Node", "ProposeResult", "SnapshotMeta"]
