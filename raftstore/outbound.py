"""Raft's messages on their way out: one queue per peer, encoded only when the network takes them.

A follower that was away may be owed hundreds of megabytes, and the core hands all of
it over at once. Waiting messages hold pointers into the log, which cost next to nothing;
their bytes are made when the peer has read what came before. So a slow peer neither fills
the memory nor holds up the loop.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from raftstore import limits
from raftstore.guard_messages import Message


class Wire(Protocol):
    """What is needed of a Transport."""

    def send(self, peer: str, value: object) -> bool: ...

    def backlog_bytes(self, peer: str) -> int: ...


class Outbound:
    """Queues over a Wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._queues: dict[str, deque[Message]] = {}

    def put(self, peer: str, message: Message) -> None:
        self._queues.setdefault(peer, deque()).append(message)

    def drop(self, peer: str) -> None:
        """The peer is gone; Raft says it again when it comes back."""
        self._queues.pop(peer, None)

    def waiting(self, peer: str) -> int:
        return len(self._queues.get(peer, ()))

    def pump(self) -> None:
        """Send, to each peer, as much as its window has room for."""
        for peer, queue in self._queues.items():
            room = limits.PEER_WINDOW_BYTES - self._wire.backlog_bytes(peer)
            while queue and room > 0:
                message = queue.popleft()
                room -= _weight(message)
                if not self._wire.send(peer, message):
                    queue.clear()


def _weight(message: Message) -> int:
    return 100 + sum(len(entry[0]) for entry in message.get("entries", ()))
