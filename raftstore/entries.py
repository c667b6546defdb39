"""What a log entry's bytes mean to Raft: the first byte is the kind, as pysyncobj has it.

    0x00 command     a regular command, of which Raft knows nothing more
    0x01             no-op, written by each new leader
    0x02 msgpack     a membership change (Change)

A change carries the whole membership before and after it, so that a node that knows
nothing of the past (a joiner, a restart, a truncation) ends with the same set as all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

REGULAR, NO_OP, MEMBERSHIP = b"\x00", b"\x01", b"\x02"

# 3 or 5 vote; 9 leaves room for replacing all of 5 one by one with care to spare.
VOTERS_MAX = 9
NODE_ID_BYTES_MAX = 255
CHANGE_BYTES_MAX = 8192


def pack(value: object) -> bytes:
    return bytes(msgpack.packb(value))


def unpack(data: bytes) -> Any:
    """Raises ValueError on anything but msgpack of at most CHANGE_BYTES_MAX."""
    if len(data) > CHANGE_BYTES_MAX:
        raise ValueError(f"{len(data)} bytes are more than a membership change can take")
    try:
        return msgpack.unpackb(data, use_list=False)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise ValueError(f"not msgpack: {error}") from error


@dataclass(frozen=True, slots=True)
class Change:
    """One voter more or one less. op: "add" or "rem"; before, after: all voters, sorted."""

    op: str
    node: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @classmethod
    def of(cls, op: str, node: str, voters: frozenset[str]) -> Change:
        """The change of `voters` by one. Raises ValueError when it is none, or not allowed."""
        if not is_node_id(node):
            raise ValueError(f"{node!r} is not a node id")
        if op == "add" and node in voters:
            raise ValueError(f"{node} is a voter already")
        if op == "rem" and node not in voters:
            raise ValueError(f"{node} is not a voter")
        after = voters | {node} if op == "add" else voters - {node}
        if not 1 <= len(after) <= VOTERS_MAX:
            raise ValueError(f"{len(after)} voters: there must be 1 to {VOTERS_MAX}")
        return cls(op, node, tuple(sorted(voters)), tuple(sorted(after)))

    @classmethod
    def from_wire(cls, value: object) -> Change:
        """Raises ValueError unless `value` is a well-formed change."""
        if not (isinstance(value, tuple) and len(value) == 4):
            raise ValueError("a membership change is (op, node, before, after)")
        op, node, before, after = value
        if op not in ("add", "rem") or not is_node_id(node):
            raise ValueError(f"membership change {op!r} of {node!r}")
        for ids in (before, after):
            if not (isinstance(ids, tuple) and len(ids) <= VOTERS_MAX and all(map(is_node_id, ids))):
                raise ValueError(f"membership change: {ids!r} is not a set of voters")
        if set(before) ^ set(after) != {node} or (node in after) != (op == "add"):
            raise ValueError(f"membership change: {op} {node} does not lead from {before} to {after}")
        return cls(op, node, before, after)

    @classmethod
    def decode(cls, payload: bytes) -> Change:
        return cls.from_wire(unpack(payload[1:]))

    def encode(self) -> bytes:
        return MEMBERSHIP + pack((self.op, self.node, self.before, self.after))


def is_node_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value.encode()) <= NODE_ID_BYTES_MAX


def is_payload(payload: object, bytes_max: int) -> bool:
    """Whether `payload` is an entry that a log may hold."""
    if not isinstance(payload, bytes) or not 0 < len(payload) <= bytes_max:
        return False
    if payload[:1] == MEMBERSHIP:
        try:
            Change.decode(payload)
        except ValueError:
            return False
        return True
    return payload[:1] == REGULAR or payload == NO_OP
