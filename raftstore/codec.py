"""The store's values as msgpack: transactions and batches for the log, feed items for sockets.

Two layers. `*_to_wire` and `*_from_wire` turn a value into plain tuples and back, so that
whoever frames messages can nest them; `encode_*` and `decode_*` make bytes. Decoding
is strict: wrong shapes and types raise CodecError with the field's name, nothing is guessed,
and nothing but these values can come out (no pickle, no extension types).

Decoding checks *shapes*, which a log entry keeps for ever. `check_txn` checks *limits*, which
may change between releases, when a transaction is submitted. It must not be the other way
round: two releases with different limits would apply the same entry differently.

A batch is one Raft entry: [version, time_ms, [encoded transaction, ...]]. Transactions stay
encoded inside it, so the leader passes on what it was sent, and one that cannot be
decoded does not take its neighbours with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgpack
import msgspec

from raftstore import limits
from raftstore.errors import TooLarge
from raftstore.types import (
    Absent,
    AbsentScope,
    Bookmark,
    Commit,
    Delete,
    DeleteScope,
    Event,
    Exists,
    FeedItem,
    Guard,
    Key,
    Op,
    Outcome,
    Put,
    Record,
    Scope,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
    Txn,
    VersionIs,
    Write,
)

BATCH_VERSION = 1
INDEX_MAX = 2**63 - 1

Wire = tuple[Any, ...]


class CodecError(ValueError):
    """The bytes are not what was expected; the message names the field."""


@dataclass(frozen=True, slots=True)
class Batch:
    """One Raft entry. A transaction that could not be decoded is None."""

    time_ms: int
    txns: tuple[Txn | None, ...]


# --- checks ------------------------------------------------------------------------------


def _fields(wire: object, what: str, count: int) -> Sequence[Any]:
    if not isinstance(wire, list | tuple) or len(wire) != count:
        raise CodecError(f"{what}: expected {count} fields")
    return wire


def _text(value: object, what: str) -> str:
    if type(value) is not str:
        raise CodecError(f"{what}: expected text, got {type(value).__name__}")
    return value


def _int(value: object, what: str) -> int:
    if type(value) is not int or not 0 <= value <= INDEX_MAX:
        raise CodecError(f"{what}: expected a number from 0 to 2^63-1, got {value!r:.40}")
    return value


def _bytes(value: object, what: str) -> bytes:
    if type(value) is not bytes:
        raise CodecError(f"{what}: expected bytes, got {type(value).__name__}")
    return value


def _optional(check: Callable[[object, str], Any], value: object, what: str) -> Any:
    return None if value is None else check(value, what)


def _sequence(value: object, what: str) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise CodecError(f"{what}: expected a list")
    return value


def _key(kind: object, mesh: object, name: object, what: str) -> Key:
    return Key(_text(kind, f"{what}.kind"), _text(mesh, f"{what}.mesh"), _text(name, f"{what}.name"))


def _scope(kind: object, mesh: object, what: str) -> Scope:
    return Scope(_optional(_text, kind, f"{what}.kind"), _optional(_text, mesh, f"{what}.mesh"))


# The same bytes as msgpack.packb's, in a quarter of the time.
pack: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode


def unpack(data: bytes, what: str) -> Any:
    """The msgpack value in `data`. Raises CodecError for anything else."""
    try:
        return msgpack.unpackb(data, use_list=False, strict_map_key=True)
    except Exception as error:  # noqa: BLE001 - msgpack raises many kinds for bad bytes
        raise CodecError(f"{what}: not msgpack: {error}") from None


# --- transactions ------------------------------------------------------------------------

# What comes off the wire, for the decoder in C. It takes a subset of what txn_from_wire takes; the
# rest, and every error's message, is left to that.
_Number = Annotated[int, msgspec.Meta(ge=0, le=INDEX_MAX)]


class _Shape(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    pass


class _Put(_Shape, tag=0):
    kind: str
    mesh: str
    name: str
    value: bytes


class _Delete(_Shape, tag=1):
    kind: str
    mesh: str
    name: str


class _VersionIs(_Shape, tag=0):
    kind: str
    mesh: str
    name: str
    version: _Number


class _Txn(_Shape):
    writes: tuple[_Put | _Delete, ...]
    guards: tuple[_VersionIs, ...]
    actor: str
    request_id: str
    cause: str
    via: str


_usual = msgspec.msgpack.Decoder(_Txn)


def _write_of(shape: _Put | _Delete) -> Write:
    key = Key(shape.kind, shape.mesh, shape.name)
    return Put(key, shape.value) if type(shape) is _Put else Delete(key)


def _guard_to_wire(guard: Guard) -> Wire:
    match guard:
        case VersionIs(key, version):
            return (0, *key, version)
        case Exists(key):
            return (1, *key)
        case Absent(key):
            return (2, *key)
        case AbsentScope(scope):
            return (3, *scope)


def _guard_from_wire(wire: object) -> Guard:
    match wire:
        case (0, kind, mesh, name, version):
            return VersionIs(_key(kind, mesh, name, "guard"), _int(version, "guard.version"))
        case (1, kind, mesh, name):
            return Exists(_key(kind, mesh, name, "guard"))
        case (2, kind, mesh, name):
            return Absent(_key(kind, mesh, name, "guard"))
        case (3, kind, mesh):
            return AbsentScope(_scope(kind, mesh, "guard"))
    raise CodecError("guard: unknown shape")


def _write_to_wire(write: Write) -> Wire:
    match write:
        case Put(key, value):
            return (0, *key, value)
        case Delete(key):
            return (1, *key)
        case DeleteScope(scope):
            return (2, *scope)


def _write_from_wire(wire: object) -> Write:
    match wire:
        case (0, kind, mesh, name, value):
            return Put(_key(kind, mesh, name, "write"), _bytes(value, "write.value"))
        case (1, kind, mesh, name):
            return Delete(_key(kind, mesh, name, "write"))
        case (2, kind, mesh):
            return DeleteScope(_scope(kind, mesh, "write"))
    raise CodecError("write: unknown shape")


def txn_to_wire(txn: Txn) -> Wire:
    return (
        tuple(_write_to_wire(write) for write in txn.writes),
        tuple(_guard_to_wire(guard) for guard in txn.guards),
        txn.actor,
        txn.request_id,
        txn.cause,
        txn.via,
    )


def txn_from_wire(wire: object) -> Txn:
    writes, guards, actor, request_id, cause, via = _fields(wire, "txn", 6)
    return Txn(
        tuple(_write_from_wire(write) for write in _sequence(writes, "txn.writes")),
        tuple(_guard_from_wire(guard) for guard in _sequence(guards, "txn.guards")),
        _text(actor, "txn.actor"),
        _text(request_id, "txn.request_id"),
        _text(cause, "txn.cause"),
        _text(via, "txn.via"),
    )


def encode_txn(txn: Txn) -> bytes:
    return pack(txn_to_wire(txn))


def decode_txn(data: bytes) -> Txn:
    """Raises CodecError naming what is wrong."""
    try:
        found = _usual.decode(data)
    except ValueError:  # msgspec's errors are
        return txn_from_wire(unpack(data, "txn"))
    return Txn(
        tuple([_write_of(write) for write in found.writes]),
        tuple([VersionIs(Key(g.kind, g.mesh, g.name), g.version) for g in found.guards]),
        *(found.actor, found.request_id, found.cause, found.via),
    )


def join_batch(time_ms: int, encoded: Iterable[bytes]) -> bytes:
    """One entry of transactions that are encoded already (encode_txn)."""
    return pack((BATCH_VERSION, time_ms, tuple(encoded)))


def encode_batch(time_ms: int, txns: Iterable[Txn]) -> bytes:
    """One entry. time_ms: Unix milliseconds by the leader's clock; it becomes the events' time."""
    return join_batch(time_ms, (encode_txn(txn) for txn in txns))


def decode_batch(data: bytes) -> Batch:
    """Raises CodecError when the batch itself is not understood."""
    version, time_ms, encoded = _fields(unpack(data, "batch"), "batch", 3)
    if version != BATCH_VERSION:
        raise CodecError(f"batch: version {version!r:.20}; this release knows {BATCH_VERSION}")
    return Batch(
        _int(time_ms, "batch.time_ms"),
        tuple(_txn_or_none(item) for item in _sequence(encoded, "batch.txns")),
    )


def _txn_or_none(item: object) -> Txn | None:
    try:
        return decode_txn(_bytes(item, "batch.txn"))
    except CodecError:
        return None


def check_txn(txn: Txn) -> bytes:
    """The encoded transaction, if it is within limits.py.

    Raises TooLarge naming the field, CodecError for text that is not Unicode.
    """
    _at_most("writes", len(txn.writes), limits.TXN_WRITES_MAX, "writes")
    _at_most("guards", len(txn.guards), limits.TXN_GUARDS_MAX, "guards")
    _at_most("request_id", _size(txn.request_id), limits.REQUEST_ID_BYTES_MAX)
    for name in ("actor", "cause", "via"):
        _at_most(name, _size(getattr(txn, name)), limits.TEXT_BYTES_MAX)
    for position, write in enumerate(txn.writes):
        where = f"writes[{position}]"
        if isinstance(write, Put):
            _at_most(f"{where}.value", len(write.value), limits.VALUE_BYTES_MAX)
        for part in write.scope if isinstance(write, DeleteScope) else write.key:
            _at_most(f"{where}.key", _size(part or ""), limits.KEY_PART_BYTES_MAX)
    encoded = encode_txn(txn)
    _at_most("the transaction", len(encoded), limits.TXN_BYTES_MAX)
    return encoded


def _at_most(what: str, found: int, allowed: int, unit: str = "bytes") -> None:
    if found > allowed:
        raise TooLarge(f"{what}: {found} {unit}; the limit is {allowed}")


def _size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise CodecError(f"{text!r:.60} is not valid Unicode: {error.reason}") from None


# --- outcomes, records, events -----------------------------------------------------------


def outcome_to_wire(outcome: Outcome) -> Wire:
    return (outcome.index, outcome.failed_guard, outcome.current_version)


def outcome_from_wire(wire: object) -> Outcome:
    index, failed, current = _fields(wire, "outcome", 3)
    if failed is not None and type(failed) is not int:
        raise CodecError("outcome.failed_guard: expected a number or nothing")
    return Outcome(_int(index, "outcome.index"), failed, _int(current, "outcome.current_version"))


def record_to_wire(record: Record) -> Wire:
    return (*record.key, record.value, record.version, record.created_ms, record.modified_ms)


def record_from_wire(wire: object) -> Record:
    kind, mesh, name, value, version, created_ms, modified_ms = _fields(wire, "record", 7)
    return Record(
        _key(kind, mesh, name, "record"),
        _bytes(value, "record.value"),
        _int(version, "record.version"),
        _int(created_ms, "record.created_ms"),
        _int(modified_ms, "record.modified_ms"),
    )


def event_to_wire(event: Event) -> Wire:
    return (
        *(event.index, event.term, event.time_ms, event.actor, event.request_id, event.cause, event.via),
        *(event.op.value, *event.key, event.value, event.previous_version, event.created_ms),
    )


def event_from_wire(wire: object) -> Event:
    index, term, time_ms, actor, request_id, cause, via, op, *rest = _fields(wire, "event", 14)
    kind, mesh, name, value, previous_version, created_ms = rest
    if op not in ("put", "delete"):
        raise CodecError(f"event.op: expected put or delete, got {op!r:.20}")
    return Event(
        _int(index, "event.index"),
        _int(term, "event.term"),
        _int(time_ms, "event.time_ms"),
        _text(actor, "event.actor"),
        _text(request_id, "event.request_id"),
        _text(cause, "event.cause"),
        _text(via, "event.via"),
        Op(op),
        _key(kind, mesh, name, "event"),
        _optional(_bytes, value, "event.value"),
        _int(previous_version, "event.previous_version"),
        _int(created_ms, "event.created_ms"),
    )


# --- the feed ----------------------------------------------------------------------------


def item_to_wire(item: FeedItem) -> Wire:
    """A feed item as (tag, ...): S start, R records, E end, C commit, B bookmark."""
    match item:
        case SnapshotStart(index, records):
            return ("S", index, records)
        case SnapshotChunk(chunk):
            return ("R", tuple(record_to_wire(record) for record in chunk))
        case SnapshotEnd(index):
            return ("E", index)
        case Commit(index, events):
            return ("C", index, tuple(event_to_wire(event) for event in events))
        case Bookmark(index):
            return ("B", index)


def item_from_wire(wire: object) -> FeedItem:
    match wire:
        case ("S", index, records):
            return SnapshotStart(_int(index, "snapshot.index"), _int(records, "snapshot.records"))
        case ("R", chunk):
            return SnapshotChunk(tuple(record_from_wire(r) for r in _sequence(chunk, "snapshot.chunk")))
        case ("E", index):
            return SnapshotEnd(_int(index, "snapshot.index"))
        case ("C", index, events):
            found = tuple(event_from_wire(event) for event in _sequence(events, "commit.events"))
            return Commit(_int(index, "commit.index"), found)
        case ("B", index):
            return Bookmark(_int(index, "bookmark.index"))
    raise CodecError("feed item: unknown shape")


def encode_item(item: FeedItem) -> bytes:
    return pack(item_to_wire(item))


def decode_item(data: bytes) -> FeedItem:
    return item_from_wire(unpack(data, "feed item"))
