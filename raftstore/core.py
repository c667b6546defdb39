"""One node's Raft state: the consensus engine (engine.py) with our journal, clock, batches and apply.

Nothing here decides what is safe: that is the guard's work (guard.py).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence

from raftstore import entries
from raftstore.config import RaftConfig
from raftstore.core_clock import Running
from raftstore.core_start import Hooks, align, voters_at_start
from raftstore.core_start import SnapshotMeta as SnapshotMeta
from raftstore.engine import CANDIDATE, FOLLOWER, LEADER, Engine, Message, PeerId, Wire
from raftstore.entries import Change
from raftstore.journal import Entry, Journal


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
        self._wire = Wire(hooks.send)
        with self._running:
            self._engine = Engine(self, self.peers, config, journal, self._wire)
        if snapshot is not None:
            self._engine.applied_index = snapshot.index
            self._commit(max(self.commit_index, snapshot.index))

    # --- what it is ----------------------------------------------------------------------

    @property
    def role(self) -> str:
        return self._engine.role

    @property
    def is_leader(self) -> bool:
        return bool(self._engine.leads)

    @property
    def leader(self) -> str | None:
        return self._engine.leader

    @property
    def term(self) -> int:
        return int(self._engine.term)

    @property
    def standing(self) -> tuple[object, ...]:
        """Role, leader, term and voters, of which only equality means something: see whether any changed."""
        return (*self._engine.standing, self.voters)

    @property
    def commit_index(self) -> int:
        return int(self._engine.commit_index)

    @property
    def applied_index(self) -> int:
        return int(self._engine.applied_index)

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
        return self._engine.election_deadline

    @election_deadline.setter
    def election_deadline(self, at: float) -> None:
        self._engine.election_deadline = at

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
        return int(self._engine.match_indexes.get(peer, 0))

    def next_index(self, peer: str) -> int:
        return int(self._engine.next_indexes.get(peer, 0))

    def replicates_to(self, peer: str) -> bool:
        """Whether this node, as leader, keeps a next and a match index for `peer`."""
        return peer in self._engine.match_indexes

    # --- events --------------------------------------------------------------------------

    def tick(self) -> bool:
        """advance(), then apply()."""
        self.advance()
        return self.apply()

    def advance(self) -> None:
        """Let time pass and do what is due, all but applying: elections, commit, messages."""
        self._commit_floor = self.commit_index
        with self._running:
            self._engine.step()

    def apply(self) -> bool:
        """Apply the next batch of what is committed. True: there is more."""
        with self._running:
            for payload, index, term in self._next_to_apply():
                # First, so that nothing an observer does can make an entry be applied twice.
                self._engine.applied_index = index
                self._hooks.apply(index, term, payload)
        return self.applied_index < self.commit_index

    def deliver(self, peer: str, message: Message) -> None:
        """A message of a kind that pysyncobj knows, already validated and guarded."""
        with self._running:
            self._wire.deliver(peer, message)

    def peer_up(self, peer: str) -> None:
        self._wire.up.add(peer)
        if peer in self.voters or peer in self.observers:
            self._wire.connected(peer, voter=peer in self.voters)

    def peer_down(self, peer: str) -> None:
        self._wire.up.discard(peer)
        if peer in self.voters or peer in self.observers:
            self._wire.disconnected(peer, voter=peer in self.voters)

    def set_observers(self, ids: Collection[str]) -> None:
        """Who is replicated to while it has no vote. Voters among them count as voters."""
        before, self.observers = self.observers, set(ids) - {self.node_id}
        with self._running:
            for peer in sorted((self.observers - before - self.voters) & self._wire.up):
                self._wire.connected(peer, voter=False)
            for peer in sorted((before - self.observers - self.voters) & self._wire.up):
                self._wire.disconnected(peer, voter=False)

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
        key, nexts = PeerId(peer), self._engine.next_indexes
        responded = self._engine.responded_at
        sent, last = nexts[key], responded.get(key, alive_at)
        if message["reset"]:
            matches = self._engine.match_indexes
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
        self._engine.applied_index = max(self.applied_index, snapshot.index)
        self._commit(max(self.commit_index, snapshot.index))
        if not self.changes_after(snapshot.index):
            self.set_voters(snapshot.voters)

    def is_behind(self, peer: str) -> bool:
        """Whether the log no longer reaches back to what `peer`, if replicated to, needs next."""
        return self.replicates_to(peer) and self.next_index(peer) <= self.first_index

    def send_heartbeat(self, peer: str) -> None:
        self._hooks.send(peer, {"type": "heartbeat", "term": self.term, "commit_index": self.commit_index})

    def send_nothing_new(self, peer: str) -> None:
        """An append without entries to one that has enough to do: we are alive, so much is committed."""
        prev = self.next_index(peer) - 1
        message = {"type": "append_entries", "term": self.term, "commit_index": self.commit_index}
        message |= {"entries": [], "prevLogIdx": prev, "prevLogTerm": self.term_at(prev)}
        self._hooks.send(peer, message)

    # --- what the engine asks back -------------------------------------------------------

    def may_campaign(self) -> bool:
        return self.is_voter and self._hooks.may_campaign()

    def election_timeout_s(self) -> float:
        return self.rng.uniform(self.config.election_timeout_min_s, self.config.election_timeout_max_s)

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
        self._engine.commit_index = index
        self._journal.setRaftCommitIndex(index)

    def set_voters(self, ids: Iterable[str]) -> None:
        """Make `ids` the membership, in the core's terms: one addition or removal per node."""
        before, self.voters = self.voters, frozenset(ids)
        if before == self.voters:
            return
        with self._running:
            for peer in sorted(self.voters - before - {self.node_id}):
                if peer in self.observers and peer in self._wire.up:
                    self._wire.disconnected(peer, voter=False)
                self._engine.add_voter(peer)
            for peer in sorted(before - self.voters - {self.node_id}):
                self._engine.remove_voter(peer)
                if peer in self.observers and peer in self._wire.up:
                    self._wire.connected(peer, voter=False)
        self._hooks.membership_changed()


__all__ = ["CANDIDATE", "FOLLOWER", "LEADER", "Core", "Message", "SnapshotMeta"]
