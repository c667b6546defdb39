"""The log's on-disk format: what a segment's bytes mean. Pure functions, no I/O.

    segment = header, batch*
    batch   = sync record, record*            one batch is one write and one fdatasync
    record  = u32 length | u32 CRC32C(sequence, type, payload) | u8 type | payload
    header  = "RMWAL" | u8 version | u16 length | u32 CRC32C(body) | body (msgpack)

Integers are little-endian; length counts the payload alone; payloads are msgpack. `sequence`
is the segment's number as u64: files are used again for later segments (journal.py), and what
is left of an earlier life must never be taken for a record of this one. Format 1 had no
sequence in the checksum; it is read, and no longer written. Zeros may follow the last batch.

Each batch starts with a *sync record*: its number (epoch) and its size in bytes. A
batch is written only after the batch before it was fdatasynced, so finding epoch n+1
proves that all of epoch n had reached the disk; and a batch that is shorter than it
says was never acknowledged. That is what lets recovery tell a torn write, which is
harmless, from rot, which is not (recovery.py). etcd's WAL makes the same distinction
by looking for zeroed sectors (server/wal/decoder.go, isTornEntry).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

import google_crc32c
import msgpack

from raftstore.errors import WrongDataDir
from raftstore.limits import WAL_RECORD_BYTES_MAX

MAGIC = b"RMWAL"
FORMAT_VERSION = 2
_UNSEEDED = 1  # the format before files were used again
SECTOR_BYTES = 512

_HEAD = struct.Struct("<5sBHI")
_RECORD = struct.Struct("<IIB")
_SYNC = struct.Struct("<8sQQ")
_SYNC_MARK = b"\xf5raftlog"
RECORD_HEAD_BYTES = _RECORD.size
HEADER_HEAD_BYTES = _HEAD.size
HEADER_BYTES_MAX = 1024  # cluster and node id are short


class Type(IntEnum):
    """What a record says. Numbers are never reused."""

    ENTRY = 1  # (index, term, command)
    TRUNCATE = 2  # (from index,): entries at and above it are void
    HARD_STATE = 3  # (term, vote or None)
    COMMIT = 4  # (commit index,)
    RESET = 5  # (): the whole log is void; a snapshot takes its place
    SYNC = 6  # batch mark: epoch, bytes


# The checksum of what precedes the payload, by type: no payload is copied to prepend it.
Seeds = Mapping[int, int]
_TYPE = {int(t): t for t in Type}
SYNC_RECORD_BYTES = RECORD_HEAD_BYTES + 2 + _SYNC.size


@dataclass(frozen=True, slots=True)
class Header:
    """A segment's first bytes: whose log it is, and where it stands."""

    cluster_id: str
    node_id: str
    sequence: int
    first_index: int
    version: int = FORMAT_VERSION

    @property
    def seeds(self) -> Seeds:
        return seeds_of(self.sequence, self.version)


@lru_cache(maxsize=256)
def seeds_of(sequence: int, version: int = FORMAT_VERSION) -> Seeds:
    """What the checksums of a segment's records start from."""
    prefix = b"" if version == _UNSEEDED else sequence.to_bytes(8, "little")
    return {int(t): int(google_crc32c.value(prefix + bytes([t]))) for t in Type}


class Damage(Exception):
    """No whole, intact record starts at `offset`. Recovery decides what that means."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"offset {offset}: {reason}")
        self.offset = offset
        self.reason = reason


def encode_header(header: Header) -> bytes:
    body = msgpack.packb((header.cluster_id, header.node_id, header.sequence, header.first_index))
    if HEADER_HEAD_BYTES + len(body) > HEADER_BYTES_MAX:
        raise ValueError(
            f"cluster id and node id are too long together: the limit is {HEADER_BYTES_MAX} bytes"
        )
    return _HEAD.pack(MAGIC, header.version, len(body), google_crc32c.value(body)) + bytes(body)


def decode_header(data: bytes, name: str) -> tuple[Header, int]:
    """The header and the offset after it. Raises Damage, or WrongDataDir for a foreign format."""
    if len(data) < HEADER_HEAD_BYTES:
        raise Damage(0, "the segment header is incomplete")
    magic, version, length, crc = _HEAD.unpack_from(data)
    body = data[HEADER_HEAD_BYTES : HEADER_HEAD_BYTES + length]
    # The checksum of nothing is 0, so zeros in place of length and checksum would pass for a header.
    if magic != MAGIC or not length or len(body) < length or google_crc32c.value(body) != crc:
        raise Damage(0, "the segment header is damaged")
    if not _UNSEEDED <= version <= FORMAT_VERSION:
        raise WrongDataDir(
            f"{name} has log format {version}; this release reads formats up to {FORMAT_VERSION}. Run the "
            "release that wrote it; where that is this one, a byte is rotten: --recover-from-peers"
        )
    cluster_id, node_id, sequence, first_index = msgpack.unpackb(body)
    return Header(cluster_id, node_id, sequence, first_index, version), HEADER_HEAD_BYTES + length


def encode_record(kind: Type, fields: tuple[Any, ...], seeds: Seeds) -> bytes:
    """One framed record. Raises ValueError above WAL_RECORD_BYTES_MAX."""
    payload: bytes = msgpack.packb(fields)
    if len(payload) > WAL_RECORD_BYTES_MAX:
        raise ValueError(f"log record of {len(payload)} bytes; the limit is {WAL_RECORD_BYTES_MAX}")
    return _framed(kind, payload, seeds)


def encode_sync(epoch: int, batch_bytes: int, seeds: Seeds) -> bytes:
    """The mark that starts a batch. batch_bytes counts the records after it."""
    return _framed(Type.SYNC, msgpack.packb(_SYNC.pack(_SYNC_MARK, epoch, batch_bytes)), seeds)


def reseal(record: bytes, seeds: Seeds) -> bytes:
    """A record made for one segment, as it must be in another."""
    return _framed(Type(record[RECORD_HEAD_BYTES - 1]), record[RECORD_HEAD_BYTES:], seeds)


def _framed(kind: Type, payload: bytes, seeds: Seeds) -> bytes:
    return _RECORD.pack(len(payload), google_crc32c.extend(seeds[kind], payload), kind) + payload


class Raw(NamedTuple):
    """A record as found: payload still packed, `end` is the offset after it."""

    kind: Type
    payload: bytes
    offset: int
    end: int

    def fields(self) -> tuple[Any, ...]:
        """(epoch, bytes) for SYNC, else the tuple that was encoded."""
        if self.kind is Type.SYNC:
            return _SYNC.unpack(msgpack.unpackb(self.payload))[1:]
        fields: tuple[Any, ...] = msgpack.unpackb(self.payload, use_list=False)
        return fields


def decode_record(data: bytes, offset: int, seeds: Seeds) -> Raw:
    """The record at `offset`. Raises Damage."""
    start = offset + RECORD_HEAD_BYTES
    if start > len(data):
        raise Damage(offset, "the record's head is cut off")
    length, crc, kind = _RECORD.unpack_from(data, offset)
    base = seeds.get(kind)
    if base is None:
        raise Damage(offset, f"unknown record type {kind}")
    if length > WAL_RECORD_BYTES_MAX:
        raise Damage(offset, f"impossible record length {length}")
    if start + length > len(data):
        raise Damage(offset, "the record is cut off")
    payload = data[start : start + length]
    if google_crc32c.extend(base, payload) != crc:
        raise Damage(offset, "checksum mismatch")
    return Raw(_TYPE[kind], payload, offset, start + length)


def later_epoch(data: bytes, offset: int, epoch: int, seeds: Seeds) -> int | None:
    """Offset of an intact sync record above `epoch` at or after `offset`, or None."""
    at = data.find(_SYNC_MARK, offset)
    while at >= 0:
        start = at - 2 - RECORD_HEAD_BYTES
        if start >= 0:
            try:
                raw = decode_record(data, start, seeds)
                if raw.kind is Type.SYNC and raw.fields()[0] > epoch:
                    return start
            except Damage:
                pass  # a payload that happens to hold the mark
        at = data.find(_SYNC_MARK, at + 1)
    return None


def has_hole(data: bytes, start: int, end: int) -> bool:
    """Whether a sector that [start, end) touches reads as zeros from `start` on: it was never written.

    start: of a record, whose first byte is not zero, so its own sector may have little left.
    """
    at, least = start, 1
    while at < end:
        stop = min(len(data), (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
        if stop - at >= least and not any(data[at:stop]):
            return True
        at, least = stop, min(16, end - start)
    return False


def is_blank(data: bytes, offset: int) -> bool:
    """Whether nothing but zeros follows: a segment's end that has not been used yet."""
    return not any(data[offset : offset + RECORD_HEAD_BYTES]) and not data[offset:].strip(b"\0")
