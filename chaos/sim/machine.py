"""The state machine in the simulation, and the few questions that the checkers ask it."""

from __future__ import annotations

import msgpack


class SimMachine:
    """Applies each request id once; keeps every effect, in order, for the checkers."""

    remembers_requests = True
    snapshots_requests = True

    def __init__(self) -> None:
        self.index = 0
        self.effects: list[str] = []
        self.outcomes: dict[str, int] = {}

    def apply(self, index: int, term: int, command: bytes) -> int:
        request_id = msgpack.unpackb(command)
        self.index = index
        decided = self.outcomes.get(request_id) if self.remembers_requests else None
        if decided is None:
            decided = self.outcomes[request_id] = index
            self.effects.append(request_id)
        return decided

    def dump(self) -> bytes:
        requests = self.outcomes if self.snapshots_requests else {}
        return bytes(msgpack.packb([self.index, self.effects, requests]))

    def load(self, data: bytes) -> None:
        self.index, self.effects, self.outcomes = msgpack.unpackb(data)


def encode(request_id: str) -> bytes:
    return bytes(msgpack.packb(request_id))
