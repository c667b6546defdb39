"""Reading the log back: replay of all segments, and the verdict on damage.

Zeros behind the last batch of a segment are its unused end: files are used again.

Only the last batch of the last segment can be *torn*: a crash interrupted its write,
so it was never acknowledged, and it is cut off. As a whole, though some of its records may be
there: a log is whole batches, or what is short in the middle of it could not be told from rot.
A segment that is left with no batch goes, too.
Everything else that does not read as it was written is *corrupt*: something that may
have been acknowledged is gone. Then the replica must not vote or answer with what is
left; it refuses to start and says how to get the data back from its peers.

    damage in a segment that is not the last            corrupt
    a later batch is intact                             corrupt: this one was synced
    the batch is shorter than its sync record says      torn
    a sector of the damaged part reads as zeros         torn: allocated, never written
    otherwise                                           corrupt: all was written, and changed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from raftstore.errors import Corrupt, WrongDataDir
from raftstore.wal.disk import Disk, disk_error
from raftstore.wal.entries import LogEntries
from raftstore.wal.format import (
    FORMAT_VERSION,
    HEADER_BYTES_MAX,
    RECORD_HEAD_BYTES,
    SECTOR_BYTES,
    SYNC_RECORD_BYTES,
    Damage,
    Header,
    Raw,
    Seeds,
    Type,
    decode_header,
    decode_record,
    has_hole,
    is_blank,
    later_epoch,
    seeds_of,
)

SUFFIX = ".wal"
REMEDY = "Restart this replica with --recover-from-peers to rebuild its log from the others."

# What surrounds a command in its record, at most: head, and msgpack of index, term and length.
_AROUND_BYTES = RECORD_HEAD_BYTES + 32


@dataclass(slots=True)
class Segment:
    """One file of the log; last_lsn is the number of the last change in it."""

    name: str
    sequence: int
    last_lsn: int
    seeds: Seeds


class SegmentReader:
    """Reads entries back from their segments (see entries.Reader). seeds: by segment number."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.seeds: dict[int, Seeds] = {}

    def commands(self, places: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < len(places):
            stop = start = len(found)
            sequence = places[start] >> 32
            while stop < len(places) and places[stop] >> 32 == sequence:
                stop += 1
            found += self._of_one(
                sequence, [place & 0xFFFFFFFF for place in places[start:stop]], sizes[stop - 1]
            )
        return found

    def _of_one(self, sequence: int, offsets: Sequence[int], last_size: int) -> list[bytes]:
        name, start = segment_name(sequence), offsets[0]
        size = offsets[-1] - start + last_size + _AROUND_BYTES
        try:
            data = self._disk.read_at(name, start, size)
            seeds = self.seeds.get(sequence) or seeds_of(sequence)
            return [decode_record(data, offset - start, seeds).fields()[2] for offset in offsets]
        except OSError as error:
            raise disk_error(error, f"reading log segment {name}") from error
        except Damage as damage:
            raise Corrupt(f"{name} is corrupt near offset {start}: {damage.reason}. {REMEDY}") from damage


@dataclass(slots=True)
class Recovered:
    """The state that the intact records add up to.

    tail_bytes is the intact length of the last segment, tail_size that of its file. `torn`
    tells the operator what will be cut, `discard` names a segment of which nothing would be left.
    """

    log: LogEntries
    term: int = 0
    vote: str | None = None
    commit: int = 0
    lsn: int = 0
    epoch: int = 0
    segments: list[Segment] = field(default_factory=list)
    tail_bytes: int = 0
    tail_size: int = 0
    torn: str = ""
    discard: str = ""

    def apply(self, raw: Raw) -> None:
        """Fold one record. Raises Damage when it contradicts the records before it."""
        fields = raw.fields()
        if raw.kind is Type.ENTRY:
            self.lsn += 1
            self._add(raw.offset, *fields)
            return
        if raw.kind is Type.COMMIT:
            self.commit = fields[0]
            return
        self.lsn += 1
        if raw.kind is Type.TRUNCATE:
            self._truncate(fields[0])
        elif raw.kind is Type.HARD_STATE:
            self.term, self.vote = fields
        else:
            self.log.clear()

    def _add(self, offset: int, index: int, term: int, command: bytes) -> None:
        if len(self.log) and index != self.log.last_index + 1:
            raise Damage(offset, f"entry {index} follows entry {self.log.last_index}")
        self.log.append(command, index, term, self.lsn, place(self.segments[-1].sequence, offset))

    def _truncate(self, from_index: int) -> None:
        if len(self.log):
            self.log.cut(min(len(self.log), max(0, from_index - self.log.first_index)))


@dataclass(frozen=True, slots=True)
class _Batch:
    """The batch being read: its number, where its mark is, and where that says that it ends."""

    epoch: int
    start: int
    end: int


def place(sequence: int, offset: int) -> int:
    """Where a record lies, as one number (entries.LogEntries.placed)."""
    return sequence << 32 | offset


def recover(disk: Disk, cluster_id: str | None = None, node_id: str | None = None) -> Recovered:
    """Replay every segment on `disk`; changes nothing there (see Recovered.torn and tail_bytes).

    Raises Corrupt, and WrongDataDir when a segment names another cluster or node
    (None: any). Blocks for the time it takes to read the whole log.
    """
    reader = SegmentReader(disk)
    state = Recovered(LogEntries(reader))
    names = segment_names(disk)
    for name in names:
        data = disk.read(name)
        last = name == names[-1]
        try:
            header, offset = decode_header(data, name)
        except Damage as damage:
            _judge_header(state, name, data, damage, last)
            state.discard = name
            break
        _check_header(state, name, header, cluster_id, node_id)
        reader.seeds[header.sequence] = header.seeds
        state.segments.append(Segment(name, header.sequence, state.lsn, header.seeds))
        whole = _replay(state, name, data, offset, last)
        if whole == offset:
            state.discard = state.segments.pop().name
            break
        state.tail_bytes, state.tail_size = whole, len(data)
        state.segments[-1].last_lsn = state.lsn
        state.log.evict(state.lsn, state.commit)
    return state


def segment_name(sequence: int) -> str:
    return f"{sequence:012d}{SUFFIX}"


def segment_names(disk: Disk) -> list[str]:
    return sorted(name for name in disk.list() if name.endswith(SUFFIX))


def _check_header(
    state: Recovered, name: str, header: Header, cluster_id: str | None, node_id: str | None
) -> None:
    if cluster_id is not None and header.cluster_id != cluster_id:
        raise WrongDataDir(f"{name} belongs to cluster {header.cluster_id!r}, not to {cluster_id!r}")
    if node_id is not None and header.node_id != node_id:
        raise WrongDataDir(f"{name} belongs to node {header.node_id!r}, not to {node_id!r}")
    expected = state.segments[-1].sequence + 1 if state.segments else header.sequence
    if header.sequence != expected or name != segment_name(expected):
        missing = segment_name(expected)
        raise Corrupt(f"{name}: offset 0: segment {missing} is missing before it. {REMEDY}")


def _replay(state: Recovered, name: str, data: bytes, offset: int, last: bool) -> int:
    """Fold the batches from `offset` on that are whole; where they end."""
    batch: _Batch | None = None
    records: list[Raw] = []
    seeds = state.segments[-1].seeds
    while offset < len(data):
        if batch is None or offset >= batch.end:
            _fold(state, name, records)
            if is_blank(data, offset):
                break
        try:
            raw = decode_record(data, offset, seeds)
        except Damage as damage:
            return _judge(state, name, data, damage, batch, last, seeds)
        offset = raw.end
        if raw.kind is Type.SYNC:
            # Earlier releases kept the records that were left of a torn batch, and went on behind them.
            _fold(state, name, records)
            state.epoch, size = raw.fields()
            batch = _Batch(state.epoch, raw.offset, offset + size)
        else:
            records.append(raw)
    if batch is None or offset < batch.end:
        return _judge(state, name, data, Damage(offset, "the batch is cut off"), batch, last, seeds)
    _fold(state, name, records)
    return offset


def _fold(state: Recovered, name: str, records: list[Raw]) -> None:
    """Apply what `records` holds, and empty it."""
    try:
        for raw in records:
            state.apply(raw)
    except Damage as damage:  # intact, yet impossible: records before it are missing
        raise Corrupt(f"{name} is corrupt at {damage}. {REMEDY}") from None
    records.clear()


def _judge_header(state: Recovered, name: str, data: bytes, damage: Damage, last: bool) -> None:
    """The header is damaged, and with it the version: what follows may be of either."""
    sequence = int(name.removesuffix(SUFFIX)) if name.removesuffix(SUFFIX).isdigit() else 0
    for version in range(1, FORMAT_VERSION + 1):
        seeds = seeds_of(sequence, version)
        _judge(state, name, data, damage, _first_batch(data, state.epoch, seeds), last, seeds)


def _judge(
    state: Recovered,
    name: str,
    data: bytes,
    damage: Damage,
    batch: _Batch | None,
    last: bool,
    seeds: Seeds,
) -> int:
    """Where to cut, when the damage is a torn write; raise Corrupt when it is not (see the module's table)."""
    where = damage.offset
    start = batch.start if batch is not None and where < batch.end else where
    proof = later_epoch(data, where, batch.epoch if batch else state.epoch, seeds)
    if not last:
        why = "a later segment exists"
    elif proof is not None:
        why = f"a later batch is intact at offset {proof}"
    elif _incomplete(where, len(data), batch) or has_hole(data, where, _written_end(data, where, batch)):
        state.torn = f"{name} at offset {where}: {damage.reason}; {len(data) - start} bytes cut"
        return start
    else:
        why = "its write was complete"
    raise Corrupt(f"{name} is corrupt at {damage} ({why}). {REMEDY}")


def _incomplete(where: int, size: int, batch: _Batch | None) -> bool:
    """Whether the file ends before the batch that `where` belongs to does."""
    if batch is None or where >= batch.end:
        return size - where < SYNC_RECORD_BYTES  # a sync record was due here
    return size < batch.end


def _written_end(data: bytes, where: int, batch: _Batch | None) -> int:
    """How far the damaged record reaches, at least; never beyond its batch, where nothing may be written yet."""
    if batch is not None and where >= batch.end:
        return min(len(data), where + SYNC_RECORD_BYTES)
    length = int.from_bytes(data[where : where + 4], "little")
    end = max(where + SECTOR_BYTES, where + RECORD_HEAD_BYTES + length)
    return min(len(data), end, batch.end if batch is not None else end)


def _first_batch(data: bytes, epoch: int, seeds: Seeds) -> _Batch:
    """The batch that follows a damaged header. None intact: it ends past any cut-off header."""
    start = later_epoch(data, 0, epoch, seeds)
    if start is None:
        return _Batch(epoch, 0, HEADER_BYTES_MAX)
    number, size = decode_record(data, start, seeds).fields()
    return _Batch(number, start, start + SYNC_RECORD_BYTES + size)
