"""Replication's rules: what a follower may cut, claim and acknowledge, and what a leader may believe.

*Term and number.* pysyncobj's reply carries neither (its lines 1098-1106), so a delayed
one counts for another term, and each batch of a pipeline answers with a rewind of its
own. Appends are numbered (`q`), replies echo the number and carry the term. A leader
drops replies of another term, and a rewind that answers an append sent before the last
rewind.

*Disk.* A reply that claims entries waits until the journal has them on the platter.
Meanwhile a bare reply tells the leader that we are alive, or a slow disk would look like
a lost quorum. What was held for one term is never sent in another: it may claim entries
that have been cut since (thesis 3.5: reply in the term of the request).

*Evidence.* A leader's quorum is counted by when the answered appends were sent, not by
when replies arrive. A slow link could otherwise keep a leader in office by echoes.

*Cutting.* An append is reduced to what really is new before the core sees it, because
the core cuts whatever follows prevLogIdx (991-1006), conflict or not. Late, repeated and
reordered appends then change nothing.

*Backing up.* A follower with a stale tail names the first index of the conflicting term,
not the last index (thesis 3.5, end), so one round trip skips a term.
"""

from __future__ import annotations

from collections import defaultdict, deque

from raftstore.guard_messages import BadMessage, Message
from raftstore.guard_port import NEVER, Port


class Contradiction(Exception):
    """A leader contradicts an entry that is committed here: someone's disk lies."""


class AppendGuard:
    """Both sides of append_entries and its reply, next_node_idx."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.core = port.core
        self.heard_leader_at = NEVER
        self.leader_gone = False  # its connection closed, and it has not spoken since
        self._responded_at: dict[str, float] = {}
        self._numbers: dict[str, int] = defaultdict(int)  # the last q sent to a peer
        # (q, when it was sent) of appends whose reply would prove something; see _evidence.
        self._sent: dict[str, deque[tuple[int, float]]] = defaultdict(deque)
        self._rewound_at: dict[str, int] = defaultdict(int)  # the last q sent when it was rewound
        self._answering = 0  # the q of the append that the core is handling
        self._claim: int | None = None  # the next index to claim, where the core would claim more
        self._held: dict[str, deque[tuple[int, Message]]] = defaultdict(deque)
        self._replied_at: dict[str, float] = defaultdict(lambda: NEVER)

    # --- leader --------------------------------------------------------------------------

    def send_append(self, peer: str, message: Message) -> None:
        self._numbers[peer] += 1
        self._sent[peer].append((self._numbers[peer], self.port.clock()))
        if message["type"] == "heartbeat":
            self.port.snapshot_needed(peer)
        self.port.send(peer, {**message, "q": self._numbers[peer]})

    def receive_reply(self, peer: str, message: Message) -> BadMessage | None:
        term = message["term"]
        if term > self.core.term:
            self.core.adopt_term(peer, term)
            return None
        if term < self.core.term or not self.core.is_leader or not self.core.replicates_to(peer):
            self.port.counts["stale_reply"] += 1
            return None
        reason = self._reply_fault(peer, message)
        if reason is not None:
            return BadMessage(peer, f"next_node_idx: {reason}")
        alive_at = self._evidence(peer, message["q"])
        self._responded_at[peer] = max(alive_at, self._responded_at.get(peer, NEVER))
        if message["reset"]:
            if message["q"] <= self._rewound_at[peer]:
                self.port.counts["stale_rewind"] += 1
                message = {**message, "reset": False}
            else:
                self._rewound_at[peer] = self._numbers[peer]
        self.core.acknowledged(peer, message, alive_at)
        return None

    def _evidence(self, peer: str, q: int) -> float:
        """Since when at the latest the reply to append `q` proves that `peer` follows us.

        That is when the append was sent: the reply may have travelled for long, its sender
        may be gone by now. NEVER, when a later reply has proved more.
        """
        sent = self._sent[peer]
        oldest = self.port.clock() - self.port.config.election_timeout_max_s
        while sent and (sent[0][0] < q or sent[0][1] < oldest):
            sent.popleft()
        return sent[0][1] if sent and sent[0][0] == q else NEVER

    def _reply_fault(self, peer: str, message: Message) -> str | None:
        claims = message["reset"] or message["success"]
        if message["reset"] and message["success"]:
            return "both success and reset"
        if message["q"] > self._numbers[peer]:
            return f"answers append {message['q']} but {self._numbers[peer]} was the last sent"
        if claims and not 1 <= message["next_node_idx"] <= self.core.last_index + 1:
            return f"next index {message['next_node_idx']} of a log that ends at {self.core.last_index}"
        return None

    def became_leader(self) -> None:
        """Replies of an earlier leadership prove nothing about this one."""
        self._responded_at.clear()

    def quorum_heard(self, within_s: float) -> bool:
        """Whether a majority, this node counted, followed this leader within the last `within_s`."""
        since = self.port.clock() - within_s
        heard = {peer for peer, at in self._responded_at.items() if at > since}
        return self.core.is_quorum(heard | {self.core.node_id})

    # --- follower ------------------------------------------------------------------------

    def leader_heard(self, within_s: float) -> bool:
        return not self.leader_gone and self.port.clock() - self.heard_leader_at < within_s

    def receive_append(self, peer: str, message: Message) -> BadMessage | None:
        bad = self._admit(peer, message)
        if bad is not None or message["term"] < self.core.term:
            return bad
        try:
            message, self._claim = self.only_what_is_new(message)
        except Contradiction as error:
            self.port.counts["contradiction"] += 1
            return BadMessage(peer, str(error))
        self._deliver(peer, message)
        return None

    def receive_heartbeat(self, peer: str, message: Message) -> BadMessage | None:
        """Sent while we need a snapshot. It says nothing about our log, so it commits nothing of it.

        What we hold committed equals the leader's log (leader completeness), so we may claim
        it: after a snapshot was installed, that is how the leader learns of it.
        """
        bad = self._admit(peer, message)
        if bad is not None or message["term"] < self.core.term:
            return bad
        commit = self.core.commit_index
        self.core.deliver(
            peer,
            {"type": "append_entries", "term": message["term"], "commit_index": commit, "serialized": None},
        )
        durable = self.is_durable(commit)
        next_index = commit + 1 if durable else self.core.last_index + 1
        self._reply(peer, self._answer(message["q"], next_index, success=durable))
        return None

    def _admit(self, peer: str, message: Message) -> BadMessage | None:
        """Note that a leader spoke, or tell it that its time is over."""
        term = message["term"]
        if term < self.core.term:
            self.port.counts["old_term"] += 1
            self.port.send(peer, {"type": "term_notice", "term": self.core.term})
            return None
        if term == self.core.term and self.core.is_leader:
            return BadMessage(peer, f"a second leader of term {term}")
        self.heard_leader_at, self.leader_gone = self.port.clock(), False
        return None

    def _deliver(self, peer: str, message: Message) -> None:
        self._answering = message["q"]
        self.core.deliver(peer, message)
        self._claim = None

    def only_what_is_new(self, message: Message) -> tuple[Message, int | None]:
        """Reduce an append to the entries that we lack or that conflict.

        Also returns the next index to claim when it is below the end of our log: the tail
        beyond may be good or stale, this append does not say. Raises Contradiction.
        """
        core, prev, entries = self.core, message["prevLogIdx"], message["entries"]
        if prev < core.first_index:
            # Compacted here, hence committed, hence equal to the leader's.
            skip = core.first_index - prev
            if len(entries) < skip:
                return self._nothing_new(message, prev + len(entries))
            prev, entries = core.first_index, entries[skip:]
        elif core.term_at(prev) != message["prevLogTerm"]:
            if prev <= core.commit_index:
                raise Contradiction(
                    f"entry {prev} of term {message['prevLogTerm']} contradicts a committed one"
                )
            return message, None
        known = 0
        while known < len(entries) and core.term_at(prev + known + 1) == entries[known][2]:
            known += 1
        match, new = prev + known, entries[known:]
        if not new:
            return self._nothing_new(message, match)
        if match < core.commit_index:
            raise Contradiction(f"entry {match + 1} of term {new[0][2]} contradicts a committed one")
        if known:
            self.port.counts["known_entries"] += 1
        return {**message, "prevLogIdx": match, "prevLogTerm": core.term_at(match), "entries": new}, None

    def _nothing_new(self, message: Message, match: int) -> tuple[Message, int | None]:
        """An append that ends at `match`, where our log equals the leader's; ours may go on."""
        core = self.core
        if match < core.last_index:
            self.port.counts["nothing_cut"] += 1
        rewritten = {
            **message,
            "prevLogIdx": core.last_index,
            "prevLogTerm": core.last_term,
            "entries": [],
            "commit_index": min(message["commit_index"], max(match, core.commit_index)),
        }
        return rewritten, match + 1

    # --- the follower's replies ----------------------------------------------------------

    def send_reply(self, peer: str, message: Message) -> None:
        message = {**message, "term": self.core.term, "q": self._answering}
        if message["reset"]:
            message["next_node_idx"] = self._conflict_start(message["next_node_idx"])
        elif message["success"]:
            if self._claim is not None:
                message["next_node_idx"] = self._claim
            if not self.is_durable(message["next_node_idx"] - 1):
                self._held[peer].append((self.port.journal.lsn, message))
                if self.port.clock() - self._replied_at[peer] >= self.port.config.heartbeat_s:
                    alive = self._answer(self._answering, self.core.last_index + 1, success=False)
                    self._reply(peer, alive)
                return
        self._reply(peer, message)

    def is_durable(self, index: int) -> bool:
        return self.port.journal.durable_index >= index

    def release(self) -> None:
        """The journal is durable further: send, per leader, the latest claim that it covers."""
        durable = self.port.journal.durable_lsn
        for peer, held in self._held.items():
            last = None
            while held and held[0][0] <= durable:
                last = held.popleft()[1]
            if last is not None and last["term"] == self.core.term:
                self._reply(peer, last)

    def peer_down(self, peer: str) -> None:
        self._held.pop(peer, None)
        self._sent.pop(peer, None)
        self._responded_at.pop(peer, None)

    def _answer(self, q: int, next_index: int, *, success: bool) -> Message:
        """A reply. Without success it claims nothing and asks for nothing: we are alive."""
        return {
            "type": "next_node_idx",
            "term": self.core.term,
            "q": q,
            "next_node_idx": next_index,
            "reset": False,
            "success": success,
        }

    def _reply(self, peer: str, message: Message) -> None:
        self._replied_at[peer] = self.port.clock()
        self.port.send(peer, message)

    def _conflict_start(self, index: int) -> int:
        """The first index of the term that conflicts at `index`, never at or below the commit index."""
        core = self.core
        term, lowest = core.term_at(index), max(core.commit_index, core.first_index) + 1
        if term is None:
            return index
        while index > lowest and core.term_at(index - 1) == term:
            index -= 1
        return max(index, lowest)
