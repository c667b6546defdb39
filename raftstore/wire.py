"""Errors and statuses as plain tuples, for the socket between a store and its workers."""

from __future__ import annotations

from dataclasses import astuple, fields
from typing import Any

from raftstore.errors import (
    Compacted,
    Overloaded,
    StoreError,
    TooLarge,
    Unavailable,
    UnknownOutcome,
)
from raftstore.members import Refused
from raftstore.port import Member, Status

_PLAIN: dict[str, type[StoreError]] = {t.__name__: t for t in (UnknownOutcome, TooLarge, Refused)}


def error_to_wire(error: StoreError) -> tuple[str, str, tuple[object, ...]]:
    """(name, message, details). A kind that a client cannot act on travels as StoreError."""
    match error:
        case Unavailable():
            return "Unavailable", error.reason, (error.leader,)
        case Overloaded():
            return "Overloaded", str(error), (error.retry_after_s,)
        case Compacted():
            return "Compacted", str(error), (error.asked, error.first_index)
    name = type(error).__name__
    return (name if name in _PLAIN else "StoreError"), str(error), ()


def error_from_wire(name: object, message: object, details: object) -> StoreError:
    """The error that error_to_wire was given. Raises ValueError for another shape."""
    match name, message, details:
        case "Unavailable", str(reason), ((None | str()) as leader,):
            return Unavailable(reason, leader)
        case "Overloaded", str(reason), (float(retry_after_s),):
            return Overloaded(reason, retry_after_s)
        case "Compacted", str(), (int(asked), int(first_index)):
            return Compacted(asked, first_index)
        case str(kind), str(reason), ():
            return _PLAIN.get(kind, StoreError)(reason)
    raise ValueError("an error of an unknown shape")


def status_to_wire(status: Status) -> tuple[object, ...]:
    *plain, members, reason = astuple(status)
    return (*plain, tuple(tuple(member) for member in members), reason)


def status_from_wire(wire: object) -> Status:
    """Raises ValueError."""
    if not isinstance(wire, tuple) or len(wire) != len(fields(Status)):
        raise ValueError("a status of an unknown shape")
    named: dict[str, Any] = dict(zip((f.name for f in fields(Status)), wire, strict=True))
    try:
        return Status(**named | {"members": tuple(Member(*member) for member in named["members"])})
    except TypeError as error:
        raise ValueError(f"a status of an unknown shape: {error}") from error
