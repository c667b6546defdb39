"""The guard: a pure message filter between the core and the wire that restores Raft's rules.

pysyncobj follows Raft where it decides by itself (vote comparison, commit of the own term
only, no-op at the start of a term) and leaves holes where messages meet the world. Each
rule below closes one; the module that holds it tells how.

    acknowledgements carry their term               guard_append
    only what is on disk is acknowledged            guard_append; the leader's own: core.hold_commit
    nothing is cut without a conflict               guard_append
    a stale tail is skipped term by term            guard_append
    a lost quorum is noticed in one timeout         guard_append (replies), core (check-quorum)
    no election without a chance (pre-vote)         guard_election
    a follower is loyal to a leader it hears        guard_election
    a leader whose process ended is not waited for  guard_election
    a higher term makes anyone step down            all
    leadership moves on request                     guard_election, node.py
    reads are confirmed by a quorum (ReadIndex)     guard_read
    one membership change at a time                 node.py
    messages of a wrong shape reach nobody          guard_messages

The rules are those of Ongaro's thesis ("Consensus: Bridging Theory and Practice", 2014):
section 3.4 to 3.7, 4.2.3 (disruptive servers), 6.4 (reads), 9.6 (pre-vote), 10.2.1
(parallel disk writes).
"""

from __future__ import annotations

from collections.abc import Callable

from raftstore.guard_append import AppendGuard
from raftstore.guard_election import ElectionGuard
from raftstore.guard_messages import BadMessage, Message, fault
from raftstore.guard_port import Port
from raftstore.guard_read import ReadGuard

Handler = Callable[[str, Message], BadMessage | None]


class Guard:
    """All rules together: `outgoing` from the core, `incoming` from the wire."""

    append_type = AppendGuard
    election_type = ElectionGuard
    read_type = ReadGuard

    def __init__(self, port: Port) -> None:
        self.port = port
        self.append = self.append_type(port)
        self.election = self.election_type(port, self.append)
        self.read = self.read_type(port)
        self._handlers: dict[str, Handler] = {
            "append_entries": self.append.receive_append,
            "heartbeat": self.append.receive_heartbeat,
            "next_node_idx": self.append.receive_reply,
            "request_vote": self.election.receive_request_vote,
            "response_vote": self.election.receive_response_vote,
            "timeout_now": self.election.receive_timeout_now,
            "term_notice": self.election.receive_term_notice,
            "pre_vote": self.election.receive_pre_vote,
            "pre_vote_reply": self.election.receive_pre_vote_reply,
            "read_probe": self.read.receive_probe,
            "read_probe_reply": self.read.receive_probe_reply,
            "read_index": self.read.receive_read_index,
            "read_index_reply": self.read.receive_read_index_reply,
        }

    def outgoing(self, peer: str, message: Message) -> None:
        """What the core wants sent: completed, held back or rewritten."""
        kind = message["type"]
        if kind in ("append_entries", "heartbeat"):
            self.append.send_append(peer, message)
        elif kind == "next_node_idx":
            self.append.send_reply(peer, message)
        elif kind == "request_vote":
            self.election.send_request_vote(peer, message)
        else:
            self.port.send(peer, message)

    def incoming(self, peer: str, message: object) -> BadMessage | None:
        """What the wire brought. A message of a wrong shape changes nothing and is reported."""
        reason = fault(message)
        if reason is not None:
            self.port.counts["bad_message"] += 1
            return BadMessage(peer, reason)
        assert isinstance(message, dict)  # fault() has seen to it
        bad = self._handlers[message["type"]](peer, message)
        if bad is not None:
            self.port.counts["bad_message"] += 1
        return bad

    def durable(self) -> None:
        """More of the journal is on disk: acknowledgements that waited for it may leave."""
        self.append.release()

    def tick(self) -> None:
        """After the core's tick: reads."""
        self.read.tick()

    def peer_down(self, peer: str) -> None:
        self.append.peer_down(peer)
        self.election.peer_down(peer)
