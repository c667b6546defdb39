"""Raft's messages on their way out: one queue per peer, encoded only when the network takes them.

A follower that was away may be owed hundreds of megabytes, and the core hands over several
at once. Waiting messages hold pointers into the log, which cost next to nothing;
their bytes are made when the peer has read what came before. So a slow peer neither fills
the memory nor holds up the loop.

What the other side knows is not said again at once. A leader tells its followers of each commit, and
each would answer with the acknowledgement that made it: at one write at a time that is a third of all
messages. To leave a message out is what a network may do at any time, so it is safe; and since it is
said again after half a heartbeat, nobody is taken for dead, and a lost one is made good.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from raftstore import limits
from raftstore.guard_messages import Message


class Wire(Protocol):
    """What is needed of a Transport."""

    def send(self, peer: str, value: object) -> bool: ...

    def backlog_bytes(self, peer: str) -> int: ...


class Outbound:
    """Queues over a Wire. A claim is not repeated within `quiet_s`, by `clock`."""

    def __init__(self, wire: Wire, quiet_s: float, clock: Callable[[], float]) -> None:
        self._wire = wire
        self._quiet_s = quiet_s
        self._clock = clock
        self._queues: dict[str, deque[Message]] = {}
        self._claims: dict[str, tuple[tuple[int, int], float]] = {}  # term and next index, and when

    def put(self, peer: str, message: Message) -> None:
        if message["type"] == "next_node_idx" and self._is_known(peer, message):
            return
        self._queues.setdefault(peer, deque()).append(message)

    def drop(self, peer: str) -> None:
        """The peer is gone; Raft says it again when it comes back."""
        self._queues.pop(peer, None)
        self._claims.pop(peer, None)

    def _is_known(self, peer: str, reply: Message) -> bool:
        """Whether `peer` was told this a moment ago."""
        if not reply["success"]:
            self._claims.pop(peer, None)
            return False
        claim, now = (reply["term"], reply["next_node_idx"]), self._clock()
        before, at = self._claims.get(peer, (None, now))
        if before == claim and now - at < self._quiet_s:
            return True
        self._claims[peer] = claim, now
        return False

    def waiting(self, peer: str) -> int:
        return len(self._queues.get(peer, ()))

    def pump(self) -> None:
        """Send, to each peer, as much as its window has room for."""
        for peer, queue in self._queues.items():
            if not queue:
                continue
            room = limits.PEER_WINDOW_BYTES - self._wire.backlog_bytes(peer)
            while queue and room > 0:
                message = queue.popleft()
                room -= _weight(message)
                if not self._wire.send(peer, message):
                    queue.clear()


def _weight(message: Message) -> int:
    return 100 + sum(len(entry[0]) for entry in message.get("entries", ()))
