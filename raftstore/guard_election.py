"""Elections' rules: who may start one, who may be followed, and when a leader must go.

*Pre-vote* (thesis 9.6). Before a node raises its term it asks whether it would win. It
would not while a majority hears a leader or has newer entries; so a node that was cut
off, or that cannot hear, comes back without deposing anyone. The core asks
`may_campaign` when its timer runs out; the answer is no until a pre-vote was won.

*Loyalty* (4.2.3). A follower that heard its leader within the minimum election timeout
ignores votes of higher terms, and so does a leader that hears a quorum. A transfer of
leadership is excepted: its vote requests carry `transfer`.

*A leader that is gone.* When the connection to the leader is closed, its process has most likely
ended: a killed process's kernel says so at once. Then nobody need wait for a timer: loyalty ends,
and the voters ask for their pre-votes one after the other, by rank, half to one heartbeat apart, so
that the first has won before the second asks. If the leader lives, a majority still hears it and
refuses; or it comes back, and the next thing it says calls the election off.

*Higher terms.* Whoever speaks with an old term is told the new one, and steps down.
pysyncobj keeps silent (its line 945), which leaves an ex-leader in the dark.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from raftstore.guard_append import AppendGuard
from raftstore.guard_messages import BadMessage, Message
from raftstore.guard_port import NEVER, Port


@dataclass(slots=True)
class _Round:
    """A pre-vote under way: for which term, since when, who would vote for us."""

    term: int
    began: float
    granted: set[str] = field(default_factory=set)


class ElectionGuard:
    """Votes, pre-votes, terms, transfers."""

    def __init__(self, port: Port, append: AppendGuard) -> None:
        self.port = port
        self.core = port.core
        self._append = append
        self._round: _Round | None = None
        self._won_at = NEVER  # when the last pre-vote was won
        self._told_at = NEVER  # when a leader told us to take over
        self._voted: tuple[int, set[str]] = (0, set())  # term, who has voted for us in it

    # --- starting one --------------------------------------------------------------------

    def may_campaign(self) -> bool:
        """The election timer has run out: start an election?"""
        now, patience = self.port.clock(), self.port.config.election_timeout_min_s
        if not self.core.peers:
            return True
        if now - self._told_at < patience:
            return True
        if now - self._won_at < patience:
            self._won_at = NEVER
            return True
        if self._append.leader_heard(patience):
            return False
        again = self.port.config.heartbeat_s if self._append.leader_gone else patience
        if self._round is None or now - self._round.began > again:
            self._ask(now)
        return False

    def peer_down(self, peer: str) -> None:
        """The connection to `peer` was closed, by it or by its kernel."""
        core = self.core
        if peer != core.leader or not core.is_voter:
            return
        self._append.leader_gone = True
        rank = sorted(core.voters - {peer}).index(core.node_id)
        wait_s = (rank + core.rng.uniform(0.1, 0.5)) * self.port.config.heartbeat_s
        core.election_deadline = min(core.election_deadline, self.port.clock() + wait_s)

    def _ask(self, now: float) -> None:
        self._round = _Round(self.core.term + 1, now)
        message = {
            "type": "pre_vote",
            "term": self._round.term,
            "last_log_index": self.core.last_index,
            "last_log_term": self.core.last_term,
        }
        for peer in sorted(self.core.peers):
            self.port.send(peer, dict(message))

    def receive_pre_vote(self, peer: str, message: Message) -> BadMessage | None:
        core = self.core
        newer = (message["last_log_term"], message["last_log_index"]) >= (core.last_term, core.last_index)
        ok = message["term"] > core.term and newer and not self._loyal()
        self.port.send(
            peer, {"type": "pre_vote_reply", "term": message["term"], "current": core.term, "ok": ok}
        )
        return None

    def receive_pre_vote_reply(self, peer: str, message: Message) -> BadMessage | None:
        if message["current"] > self.core.term:
            self.core.adopt_term(peer, message["current"])
            return None
        current = self._round
        if current is None or not message["ok"] or message["term"] != current.term:
            return None
        current.granted.add(peer)
        if current.term == self.core.term + 1 and self.core.is_quorum(current.granted | {self.core.node_id}):
            self._won_at, self._round = self.port.clock(), None
        return None

    def send_request_vote(self, peer: str, message: Message) -> None:
        self.port.send(peer, {**message, "transfer": self._told_recently()})

    # --- taking part ---------------------------------------------------------------------

    def receive_request_vote(self, peer: str, message: Message) -> BadMessage | None:
        if message["term"] < self.core.term:
            self.port.send(peer, {"type": "term_notice", "term": self.core.term})
        elif message["term"] > self.core.term and not message["transfer"] and self._loyal():
            self.port.counts["loyal"] += 1
        else:
            self.core.deliver(peer, message)
        return None

    def receive_response_vote(self, peer: str, message: Message) -> BadMessage | None:
        """A vote counts once, for this term, and only a voter's."""
        if message["term"] != self.core.term or peer not in self.core.voters:
            return None
        if self._voted[0] != message["term"]:
            self._voted = (message["term"], set())
        if peer not in self._voted[1]:
            self._voted[1].add(peer)
            self.core.deliver(peer, message)
        return None

    def receive_term_notice(self, peer: str, message: Message) -> BadMessage | None:
        if message["term"] > self.core.term:
            self.core.adopt_term(peer, message["term"])
        return None

    def _loyal(self) -> bool:
        patience = self.port.config.election_timeout_min_s
        if self.core.is_leader:
            return self._append.quorum_heard(patience)
        return self._append.leader_heard(patience)

    # --- handing over --------------------------------------------------------------------

    def receive_timeout_now(self, peer: str, message: Message) -> BadMessage | None:
        """The leader wants us to succeed it: the next tick campaigns, whatever the timer says."""
        if message["term"] == self.core.term and peer == self.core.leader and self.core.is_voter:
            self._told_at = self.port.clock()
            self.core.deliver(peer, message)
        return None

    def _told_recently(self) -> bool:
        return self.port.clock() - self._told_at < 2 * self.port.config.election_timeout_min_s
