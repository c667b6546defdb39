"""Linearizable reads without writing: ReadIndex (thesis 6.4).

The leader notes its commit index, asks a quorum whether its term is still the newest
they know, and answers with the index. Any replica that has applied it may then read.
Reads that arrive while a round is under way share the next one. A leader that has not
yet committed an entry of its own term does not know the commit index: its reads wait.

A follower relays to its leader. None means: not confirmed; ask again.

Answers are matched by number, and a late answer must not meet the question of a later
life: numbers start at a random epoch, because a restarted node has forgotten which it used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from raftstore.guard_messages import BadMessage, Message
from raftstore.guard_port import Port

OnRead = Callable[[int | None], None]
# A replica serves some ten thousand reads per second; more waiting than this is an overload.
READS_WAITING_MAX = 20_000


@dataclass(slots=True)
class _Read:
    deadline: float
    on_done: OnRead


@dataclass(slots=True)
class _Round:
    number: int
    term: int
    index: int
    sent_at: float
    reads: list[_Read]
    confirmed: set[str] = field(default_factory=set)


class ReadGuard:
    """Reads asked here, whatever the role, and peers' reads when leader."""

    def __init__(self, port: Port) -> None:
        self.port = port
        self.core = port.core
        self._waiting: list[_Read] = []  # leader: for the next round
        self._round: _Round | None = None
        self._number = port.epoch
        self._relayed: dict[int, _Read] = {}  # follower: asked the leader

    def read(self, on_done: OnRead) -> None:
        """Ask for an index; on_done is called once, with it or with None, maybe at once."""
        if len(self._waiting) + len(self._relayed) >= READS_WAITING_MAX:
            self.port.counts["reads_refused"] += 1
            on_done(None)
            return
        read = _Read(self.port.clock() + self.port.config.read_timeout_s, on_done)
        leader = self.core.leader
        if self.core.is_leader:
            self._waiting.append(read)
        elif leader is None:
            on_done(None)
        else:
            self._number += 1
            self._relayed[self._number] = read
            self.port.send(leader, {"type": "read_index", "id": self._number})

    def tick(self) -> None:
        """Start the next round, repeat a probe that may be lost, give up on what is late."""
        now = self.port.clock()
        self._relayed, late = _split(self._relayed, now)
        if self.core.is_leader:
            self._check_round(now)
            if self._round is None and self._waiting and self._commit_is_known():
                self._begin(now)
        elif self._round or self._waiting:
            late += self._drop_all()
        for read in late:
            read.on_done(None)

    def _commit_is_known(self) -> bool:
        return self.core.term_at(self.core.commit_index) == self.core.term

    def _begin(self, now: float) -> None:
        self._number += 1
        self._round = _Round(self._number, self.core.term, self.core.commit_index, now, self._waiting)
        self._waiting = []
        self._probe(self._round)
        self._maybe_finish(self._round)

    def _probe(self, current: _Round) -> None:
        for peer in sorted(self.core.peers - current.confirmed):
            self.port.send(peer, {"type": "read_probe", "term": current.term, "round": current.number})

    def _check_round(self, now: float) -> None:
        current = self._round
        if current is None:
            self._give_up(self._waiting, now)
        elif current.term != self.core.term:
            self._round = None
            for read in current.reads:
                read.on_done(None)
        elif now - current.sent_at > self.port.config.heartbeat_s:
            current.sent_at = now
            self._give_up(current.reads, now)
            if current.reads:
                self._probe(current)
            else:
                self._round = None

    def _give_up(self, reads: list[_Read], now: float) -> None:
        if not reads:
            return
        late = [read for read in reads if read.deadline <= now]
        reads[:] = [read for read in reads if read.deadline > now]
        for read in late:
            read.on_done(None)

    def _drop_all(self) -> list[_Read]:
        dropped = self._waiting + (self._round.reads if self._round else [])
        self._waiting, self._round = [], None
        return dropped

    def _maybe_finish(self, current: _Round) -> None:
        if not self.core.is_quorum(current.confirmed | {self.core.node_id}):
            return
        self._round = None
        index = current.index if self.core.is_leader and self.core.term == current.term else None
        for read in current.reads:
            read.on_done(index)

    # --- messages ------------------------------------------------------------------------

    def receive_probe(self, peer: str, message: Message) -> BadMessage | None:
        ok = message["term"] == self.core.term
        self.port.send(
            peer,
            {"type": "read_probe_reply", "term": message["term"], "round": message["round"], "ok": ok},
        )
        return None

    def receive_probe_reply(self, peer: str, message: Message) -> BadMessage | None:
        current = self._round
        if current is None or message["term"] != current.term:
            return None
        if message["ok"] and message["round"] == current.number:
            current.confirmed.add(peer)
            self._maybe_finish(current)
        return None

    def receive_read_index(self, peer: str, message: Message) -> BadMessage | None:
        def answer(index: int | None) -> None:
            self.port.send(peer, {"type": "read_index_reply", "id": message["id"], "index": index})

        if self.core.is_leader:
            self.read(answer)
        else:
            answer(None)
        return None

    def receive_read_index_reply(self, peer: str, message: Message) -> BadMessage | None:
        read = self._relayed.pop(message["id"], None)
        if read is not None:
            read.on_done(message["index"])
        return None


def _split(relayed: dict[int, _Read], now: float) -> tuple[dict[int, _Read], list[_Read]]:
    """The reads that may still be answered, and those that are late."""
    if not relayed or all(read.deadline > now for read in relayed.values()):
        return relayed, []
    late = [read for read in relayed.values() if read.deadline <= now]
    return {number: read for number, read in relayed.items() if read.deadline > now}, late
