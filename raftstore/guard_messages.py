"""The shape of every message between replicas, checked field by field before anything looks at it.

A peer is authenticated by its certificate, but may run another version, be broken, or be
taken over. So nothing is assumed: a message that is not exactly of a known shape is
refused here with a reason, and the core (which would raise a KeyError, or believe it)
never sees it. Messages are msgpack maps; arrays may arrive as list or tuple.

pysyncobj's own messages, with two fields added by the guard (`q` numbers the appends of
a term to one peer, `term` dates the replies):

    append_entries   term q commit_index prevLogIdx prevLogTerm entries
    heartbeat        term q commit_index           to a peer whose next entry is compacted away
    next_node_idx    term q next_node_idx reset success
    request_vote     term last_log_index last_log_term transfer
    response_vote    term
    timeout_now      term

and ours:

    term_notice      term                          "you are behind: this is the term now"
    pre_vote         term last_log_index last_log_term
    pre_vote_reply   term current ok               term: the asked one
    read_probe       term round                    "am I still the leader of this term to you?"
    read_probe_reply term round ok
    read_index       id                            a follower asks its leader
    read_index_reply id index                      index None: not the leader, or no quorum
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raftstore.entries import is_payload
from raftstore.limits import BATCH_BYTES_MAX

Message = dict[str, Any]

# Indexes and terms grow by one; beyond this only a forger gets.
NUMBER_MAX = 2**53
# One message carries append_batch_bytes of entries, and entries have at least a byte.
ENTRIES_MAX = 1 << 20
ENTRY_BYTES_MAX = BATCH_BYTES_MAX + 1


@dataclass(frozen=True, slots=True)
class BadMessage:
    """Why a message was refused. The shell closes the connection with it."""

    peer: str
    reason: str


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value <= NUMBER_MAX


def _flag(value: object) -> bool:
    return type(value) is bool


def _number_or_none(value: object) -> bool:
    return value is None or _number(value)


def _entry(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and is_payload(value[0], ENTRY_BYTES_MAX)
        and _number(value[1])
        and _number(value[2])
    )


def _entries(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) <= ENTRIES_MAX and all(map(_entry, value))


_Check = Callable[[object], bool]
SHAPES: dict[str, dict[str, _Check]] = {
    "append_entries": {
        "term": _number,
        "q": _number,
        "commit_index": _number,
        "prevLogIdx": _number,
        "prevLogTerm": _number,
        "entries": _entries,
    },
    "heartbeat": {"term": _number, "q": _number, "commit_index": _number},
    "next_node_idx": {
        "term": _number,
        "q": _number,
        "next_node_idx": _number,
        "reset": _flag,
        "success": _flag,
    },
    "request_vote": {
        "term": _number,
        "last_log_index": _number,
        "last_log_term": _number,
        "transfer": _flag,
    },
    "response_vote": {"term": _number},
    "timeout_now": {"term": _number},
    "term_notice": {"term": _number},
    "pre_vote": {"term": _number, "last_log_index": _number, "last_log_term": _number},
    "pre_vote_reply": {"term": _number, "current": _number, "ok": _flag},
    "read_probe": {"term": _number, "round": _number},
    "read_probe_reply": {"term": _number, "round": _number, "ok": _flag},
    "read_index": {"id": _number},
    "read_index_reply": {"id": _number, "index": _number_or_none},
}


def fault(message: object) -> str | None:
    """What is wrong with `message`, or None. Entries are made tuples, in place."""
    if not isinstance(message, dict):
        return f"a message is a map, not {type(message).__name__}"
    kind = message.get("type")
    shape = SHAPES.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return f"unknown message type {_short(kind)}"
    if len(message) != len(shape) + 1:
        extra = sorted(str(k)[:40] for k in message.keys() - shape.keys() - {"type"})
        missing = sorted(shape.keys() - message.keys())
        return f"{kind}: missing fields {missing}, unknown fields {extra[:5]}"
    for field, check in shape.items():
        if field not in message:
            return f"{kind}: field {field} is missing"
        if not check(message[field]):
            return f"{kind}: field {field} is {_short(message[field])}"
    return _append_fault(message) if kind == "append_entries" else None


def _append_fault(message: Message) -> str | None:
    """Entries must follow one another, with terms that never fall and never exceed the sender's."""
    entries = message["entries"] = [tuple(entry) for entry in message["entries"]]
    index, term = message["prevLogIdx"], message["prevLogTerm"]
    for entry in entries:
        if entry[1] != index + 1:
            return f"append_entries: entry {entry[1]} follows entry {index}"
        if entry[2] < term:
            return f"append_entries: entry {entry[1]} of term {entry[2]} follows one of term {term}"
        index, term = entry[1], entry[2]
    if term > message["term"]:
        return f"append_entries: entry {index} of term {term} in a message of term {message['term']}"
    return None


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, dict | list | tuple) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
