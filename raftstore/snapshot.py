"""Snapshots on disk and on the wire: the whole state as one stream of checked chunks.

    file  = "RMSNAP" | u8 version | frame*
    frame = u32 length | u32 CRC32C(type, payload) | u8 type | payload (msgpack)

    HEADER    index, term, voters, cluster id, log time, counts, digest
    RECORDS   about 500 records
    REQUESTS  about 500 remembered requests, oldest first
    TRAILER   CRC32C of every byte before the trailer

A state is persistent (state.py), so writing one needs no pause: `encode` is a generator
that makes one chunk per step, for a thread or for slices between other work, while the
machine moves on. `save` writes to a temporary name and renames when all is synced, so
a name that ends in .snap is always whole.

`SnapshotReader` takes bytes as they come, in any portions. A transfer that broke is
resumed at `reader.offset`, behind the last chunk that was whole and intact; nothing of a
snapshot is believed before trailer, counts and digest agree. What a
peer sends, what lies on disk and what a backup holds are the same bytes.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from typing import Any, TypeVar

import google_crc32c

from raftstore import codec, limits
from raftstore.codec import CodecError
from raftstore.digest import MODULUS, hash_of
from raftstore.errors import Corrupt, WrongDataDir
from raftstore.state import Records, RecordsEdit, Requests, RequestsEdit, State, record_hash
from raftstore.types import Record
from raftstore.wal.disk import Disk, disk_error

T = TypeVar("T")

FORMAT_VERSION = 1
PREAMBLE = b"RMSNAP" + bytes([FORMAT_VERSION])
SUFFIX = ".snap"
# Of a snapshot that is on its way here (snapshot_receiving.py); the name begins like the whole one's.
PART_SUFFIX = ".part"
READ_BYTES = limits.MIB
_FRAME = struct.Struct("<IIB")
_NAME = re.compile(r"\d{20}\.snap")


class _Type(IntEnum):
    HEADER = 1
    RECORDS = 2
    REQUESTS = 3
    TRAILER = 4


@dataclass(frozen=True, slots=True)
class Header:
    """Where a snapshot stands. `term` is that of the entry at `index`; `voters` are sorted ids."""

    index: int
    term: int
    voters: tuple[str, ...]
    cluster_id: str
    log_time_ms: int
    records: int
    requests: int
    digest: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    header: Header
    state: State


def header_of(
    state: State, *, term: int, voters: Iterable[str], cluster_id: str, index: int | None = None
) -> Header:
    """index: where Raft stands; above state.index when the last entries were no commands."""
    at = state.index if index is None else index
    if at < state.index:
        raise ValueError(f"the state stands at index {state.index} already, not at {at}")
    counts = (len(state.records), len(state.requests))
    members = tuple(sorted(voters))
    return Header(at, term, members, cluster_id, state.log_time_ms, *counts, state.digest())


# --- writing -----------------------------------------------------------------------------


def encode(header: Header, state: State) -> Iterator[bytes]:
    """The file's bytes, one chunk per step; a step takes about a millisecond."""
    crc = 0
    for data in _body(header, state):
        crc = google_crc32c.extend(crc, data)
        yield data
    yield _frame(_Type.TRAILER, (crc,))


def _body(header: Header, state: State) -> Iterator[bytes]:
    yield PREAMBLE
    yield _frame(_Type.HEADER, tuple(getattr(header, name) for name in Header.__slots__))
    for chunk in chunks(state.scan()):
        yield _frame(_Type.RECORDS, tuple(codec.record_to_wire(record) for record in chunk))
    requests = (
        (request_id, codec.outcome_to_wire(entry.outcome), entry.time_ms)
        for request_id, entry in state.requests.in_order()
    )
    while batch := tuple(islice(requests, limits.SNAPSHOT_CHUNK_RECORDS)):
        yield _frame(_Type.REQUESTS, batch)


def chunks(records: Iterable[Record]) -> Iterator[tuple[Record, ...]]:
    """Records in portions bounded by count and by bytes (at least one each)."""
    chunk: list[Record] = []
    size = 0
    for record in records:
        if chunk and size + len(record.value) > limits.SNAPSHOT_CHUNK_BYTES:
            yield tuple(chunk)
            chunk, size = [], 0
        chunk.append(record)
        size += len(record.value)
        if len(chunk) == limits.SNAPSHOT_CHUNK_RECORDS:
            yield tuple(chunk)
            chunk, size = [], 0
    if chunk:
        yield tuple(chunk)


def _frame(kind: _Type, fields: tuple[Any, ...]) -> bytes:
    payload = codec.pack(fields)
    return _FRAME.pack(len(payload), _crc(kind, payload), kind) + payload


def snapshot_name(index: int) -> str:
    return f"{index:020d}{SUFFIX}"


def index_of(name: str) -> int:
    """Where the snapshot in a file, or the part of one, stands."""
    return int(name[:20])


def snapshot_names(disk: Disk) -> list[str]:
    """Whole snapshots, oldest first."""
    return [name for name in disk.list() if _NAME.fullmatch(name)]


def save_in_slices(disk: Disk, header: Header, state: State) -> Iterator[int]:
    """Write a snapshot; yields the bytes written so far after each chunk. Durable when exhausted.

    The sync at the end blocks, so run it in a thread. Left early, or failing, it leaves
    only a temporary file, which the next one replaces. Raises DiskFull, DiskFailed.
    """
    name = snapshot_name(header.index)
    temporary = name + ".tmp"
    written = 0
    try:
        disk.truncate(temporary, 0)
        for data in encode(header, state):
            disk.append(temporary, data)
            written += len(data)
            yield written
        commit_file(disk, temporary, name)
    except OSError as error:
        raise disk_error(error, f"writing snapshot {name}") from error


def save(disk: Disk, header: Header, state: State) -> str:
    """Write a snapshot and return its name. Blocks. Raises DiskFull, DiskFailed."""
    for _ in save_in_slices(disk, header, state):
        pass
    return snapshot_name(header.index)


def commit_file(disk: Disk, temporary: str, name: str) -> None:
    """Give a completely written file its name, durably."""
    disk.datasync(temporary)
    disk.rename(temporary, name)
    disk.sync_dir()


def prune(disk: Disk, keep: int = 1, spare: Collection[str] = ()) -> list[str]:
    """Remove all but the newest `keep` snapshots and those to `spare`, and what is left over of others.

    Temporary files go, but for one that is being written now: it has to be in `spare` by its final name.
    Parts of snapshots that are overtaken go, too. Returns the names. Blocks.
    """
    names = snapshot_names(disk)
    old = [name for name in names[: -max(1, keep)] if name not in spare]
    newest = index_of(names[-1]) if names else 0
    temporary = [name for name in disk.list() if name.endswith(SUFFIX + ".tmp")]
    gone = old + [name for name in temporary if name.removesuffix(".tmp") not in spare]
    gone += [name for name in disk.list() if name.endswith(PART_SUFFIX) and index_of(name) <= newest]
    try:
        for name in gone:
            disk.unlink(name)
        disk.sync_dir()
    except OSError as error:
        raise disk_error(error, "removing old snapshots") from error
    return gone


TRAILER_BYTES_MAX = 64


def identity(tail: bytes) -> int:
    """What tells a snapshot from all others: the checksum in its trailer, of all its bytes.

    tail: its last TRAILER_BYTES_MAX bytes. Two replicas' snapshots at one index hold the same state
    in different bytes, so index and size are not enough. Raises Corrupt.
    """
    for size in range(_FRAME.size + 1, min(len(tail), TRAILER_BYTES_MAX) + 1):
        length, crc, kind = _FRAME.unpack_from(tail, len(tail) - size)
        payload = tail[len(tail) - size + _FRAME.size :]
        if kind == _Type.TRAILER and length == len(payload) and _crc(kind, payload) == crc:
            return int(codec.unpack(payload, "trailer")[0])
    raise Corrupt("the snapshot does not end with a trailer")


def intact_bytes(portions: Iterable[bytes]) -> int:
    """How far a file's bytes are whole, intact chunks; decodes nothing, so it is fast."""
    buffer, offset = bytearray(), 0
    for data in portions:
        buffer += data
        while size := _intact_chunk(buffer, offset):
            offset += size
            del buffer[:size]
        if len(buffer) > _FRAME.size + limits.SNAPSHOT_CHUNK_BYTES_MAX:
            break
    return offset


def _intact_chunk(buffer: bytearray, offset: int) -> int:
    """The size of the chunk that `buffer` starts with; 0 when it is not there or not intact."""
    if offset == 0:
        return len(PREAMBLE) if buffer.startswith(PREAMBLE) else 0
    if len(buffer) < _FRAME.size:
        return 0
    length, crc, kind = _FRAME.unpack_from(buffer)
    payload = bytes(buffer[_FRAME.size : _FRAME.size + length])
    known = kind in _Type.__members__.values() and length <= limits.SNAPSHOT_CHUNK_BYTES_MAX
    return _FRAME.size + length if known and len(payload) == length and _crc(kind, payload) == crc else 0


def _crc(kind: int, payload: bytes) -> int:
    return int(google_crc32c.extend(google_crc32c.value(bytes([kind])), payload))


# --- reading -----------------------------------------------------------------------------


class SnapshotReader:
    """Bytes in, a Snapshot out. `feed` raises Corrupt; then the reader is of no more use.

    cluster_id: what the header must name; None: any.
    """

    def __init__(self, name: str = "the snapshot", *, cluster_id: str | None = None) -> None:
        self.name = name
        self.header: Header | None = None
        self.offset = 0
        self._cluster_id = cluster_id
        self._buffer = bytearray()
        self._crc = 0
        self._records, self._records_sum = RecordsEdit(Records()), 0
        self._requests, self._requests_sum = RequestsEdit(Requests()), 0
        self._result: Snapshot | None = None

    @property
    def snapshot(self) -> Snapshot | None:
        """The whole, verified snapshot; None until its last byte has come."""
        return self._result

    def feed(self, data: bytes) -> int:
        """Take the bytes that follow; returns `offset`, behind the last intact chunk."""
        self._buffer += data
        while self._step():
            pass
        return self.offset

    def resume(self) -> int:
        """Forget an incomplete chunk after a broken transfer; where to ask for bytes from."""
        self._buffer.clear()
        return self.offset

    def finish(self) -> Snapshot:
        """The snapshot. Raises Corrupt when the bytes ended before it did."""
        if self._result is None:
            raise self._corrupt("it ends before its trailer")
        return self._result

    def _step(self) -> bool:
        if self.offset == 0:
            return self._preamble()
        if len(self._buffer) < _FRAME.size:
            return False
        length, crc, kind = _FRAME.unpack_from(self._buffer)
        if self._result is not None or kind not in _Type.__members__.values():
            raise self._corrupt("something else follows")
        if length > limits.SNAPSHOT_CHUNK_BYTES_MAX:
            raise self._corrupt(f"impossible chunk of {length} bytes")
        end = _FRAME.size + length
        if len(self._buffer) < end:
            return False
        frame = bytes(self._buffer[:end])
        payload = frame[_FRAME.size :]
        if _crc(kind, payload) != crc:
            raise self._corrupt("checksum mismatch")
        self._take(_Type(kind), payload)
        self._crc = google_crc32c.extend(self._crc, frame)
        self._consume(end)
        return True

    def _preamble(self) -> bool:
        if len(self._buffer) < len(PREAMBLE):
            return False
        head = bytes(self._buffer[: len(PREAMBLE)])
        if head[:-1] != PREAMBLE[:-1]:
            raise self._corrupt("this is no snapshot")
        if head != PREAMBLE:
            raise WrongDataDir(
                f"{self.name} has snapshot format {head[-1]}; this release reads {FORMAT_VERSION}"
            )
        self._crc = google_crc32c.value(head)
        self._consume(len(PREAMBLE))
        return True

    def _consume(self, count: int) -> None:
        del self._buffer[:count]
        self.offset += count

    def _take(self, kind: _Type, payload: bytes) -> None:
        try:
            wire = codec.unpack(payload, kind.name.lower())
            if (kind is _Type.HEADER) != (self.header is None):
                raise CodecError("the header is missing, or there are two")
            if kind is _Type.HEADER:
                self._start(_header_from_wire(wire))
            elif kind is _Type.RECORDS:
                self._take_records(wire)
            elif kind is _Type.REQUESTS:
                for request_id, outcome, time_ms in wire:
                    self._requests_sum += hash_of((request_id, outcome, time_ms))
                    self._requests.add(request_id, codec.outcome_from_wire(outcome), time_ms)
            else:
                self._end(wire[0])
        except (CodecError, TypeError, ValueError) as error:
            raise self._corrupt(str(error)) from error

    def _take_records(self, wire: Any) -> None:
        """Their digest is added up on the way: at the end it would take long."""
        for item in wire:
            old = self._records.put(codec.record_from_wire(item))
            self._records_sum += hash_of(item)
            if old is not None:
                self._records_sum -= record_hash(old)

    def _start(self, header: Header) -> None:
        if self._cluster_id not in (None, header.cluster_id):
            raise WrongDataDir(
                f"{self.name} belongs to cluster {header.cluster_id!r}, not to {self._cluster_id!r}"
            )
        self.header = header

    def _end(self, crc: int) -> None:
        header = self.header
        assert header is not None
        records = self._records.done(self._records_sum % MODULUS)
        requests = self._requests.done(self._requests_sum % MODULUS)
        state = State(header.index, header.term, header.log_time_ms, records, requests)
        if crc != self._crc:
            raise CodecError("chunks are missing or out of order")
        if (len(state.records), len(state.requests)) != (header.records, header.requests):
            raise CodecError(f"it holds {len(state.records)} records, its header says {header.records}")
        if state.digest() != header.digest:
            raise CodecError("its digest differs from its header's")
        self._result = Snapshot(header, state)

    def _corrupt(self, reason: str) -> Corrupt:
        return Corrupt(f"{self.name} is corrupt at offset {self.offset}: {reason}")


def _header_from_wire(wire: Any) -> Header:
    if not isinstance(wire, tuple) or len(wire) != len(Header.__slots__):
        raise CodecError("the header has an unknown shape")
    header = Header(*wire)
    numbers = (header.index, header.term, header.log_time_ms, header.records, header.requests)
    texts = (header.cluster_id, header.digest, *header.voters)
    texts_only = isinstance(header.voters, tuple) and all(type(t) is str for t in texts)
    if not texts_only or not all(type(n) is int and n >= 0 for n in numbers):
        raise CodecError("the header has an unknown shape")
    return header


def read_in_slices(data: bytes, reader: SnapshotReader, slice_bytes: int = 256 * limits.KIB) -> Iterator[int]:
    """Feed `data` in portions, for the loop to breathe in between; yields the offset."""
    for start in range(0, len(data), slice_bytes):
        yield reader.feed(data[start : start + slice_bytes])


def load(disk: Disk, name: str, *, cluster_id: str | None = None) -> Snapshot:
    """Read one snapshot, never all of its bytes at once. Blocks. Raises Corrupt, WrongDataDir, DiskFailed."""
    reader = SnapshotReader(name, cluster_id=cluster_id)
    for data in file_in_portions(disk, name):
        for _ in read_in_slices(data, reader):
            pass
    return reader.finish()


def file_in_portions(disk: Disk, name: str, start: int = 0) -> Iterator[bytes]:
    """The file's bytes from `start` on. Blocks. Raises DiskFailed."""
    try:
        while data := disk.read_at(name, start, READ_BYTES):
            yield data
            start += len(data)
    except OSError as error:
        raise disk_error(error, f"reading {name}") from error


def load_latest(disk: Disk, *, cluster_id: str | None = None) -> Snapshot | None:
    """The newest snapshot, or None when there is none. Blocks. Raises Corrupt with the remedy.

    It does not fall back to an older one: the log between the two is dropped already.
    """
    names = snapshot_names(disk)
    if not names:
        return None
    try:
        return load(disk, names[-1], cluster_id=cluster_id)
    except Corrupt as error:
        raise Corrupt(
            f"{error}. Restart this replica with --recover-from-peers to fetch it from the others."
        ) from error
