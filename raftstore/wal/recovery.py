"""Reading the log back: replay of all segments, and the verdict on damage.

Only the last batch of the last segment can be *torn*: a crash interrupted its write,
so it was never acknowledged, and what follows its last whole record is cut off.
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

from dataclasses import dataclass, field

from raftstore.errors import Corrupt, WrongDataDir
from raftstore.wal.disk import Disk
from raftstore.wal.format import (
    HEADER_BYTES_MAX,
    RECORD_HEAD_BYTES,
    SECTOR_BYTES,
    SYNC_RECORD_BYTES,
    Damage,
    Header,
    Raw,
    Type,
    decode_header,
    decode_record,
    has_hole,
    later_epoch,
)

SUFFIX = ".wal"
REMEDY = "Restart this replica with --recover-from-peers to rebuild its log from the others."

Entry = tuple[bytes, int, int]  # (command, index, term), as pysyncobj has it


@dataclass(slots=True)
class Segment:
    """One file of the log; last_lsn is the number of the last change in it."""

    name: str
    sequence: int
    last_lsn: int


@dataclass(slots=True)
class Recovered:
    """The state that the intact records add up to.

    lsns[i] is the number of the change that added entries[i]; tail_bytes the intact
    length of the last segment. `torn` tells the operator what will be cut, `discard`
    names a segment whose very header is torn.
    """

    entries: list[Entry] = field(default_factory=list)
    lsns: list[int] = field(default_factory=list)
    term: int = 0
    vote: str | None = None
    commit: int = 0
    lsn: int = 0
    epoch: int = 0
    segments: list[Segment] = field(default_factory=list)
    tail_bytes: int = 0
    torn: str = ""
    discard: str = ""

    def apply(self, raw: Raw) -> None:
        """Fold one record. Raises Damage when it contradicts the records before it."""
        fields = raw.fields()
        if raw.kind is Type.ENTRY:
            self.lsn += 1
            self._add(raw.offset, *fields)
            return
        if raw.kind is Type.SYNC:
            self.epoch = fields[0]
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
            self.entries.clear()
            self.lsns.clear()

    def _add(self, offset: int, index: int, term: int, command: bytes) -> None:
        if self.entries and index != self.entries[-1][1] + 1:
            raise Damage(offset, f"entry {index} follows entry {self.entries[-1][1]}")
        self.entries.append((command, index, term))
        self.lsns.append(self.lsn)

    def _truncate(self, from_index: int) -> None:
        if self.entries:
            keep = max(0, from_index - self.entries[0][1])
            del self.entries[keep:]
            del self.lsns[keep:]


@dataclass(frozen=True, slots=True)
class _Batch:
    """The batch being read: its number, and where its mark says that it ends."""

    epoch: int
    end: int


def recover(disk: Disk, cluster_id: str | None = None, node_id: str | None = None) -> Recovered:
    """Replay every segment on `disk`; changes nothing there (see Recovered.torn and tail_bytes).

    Raises Corrupt, and WrongDataDir when a segment names another cluster or node
    (None: any). Blocks for the time it takes to read the whole log.
    """
    state = Recovered()
    names = segment_names(disk)
    for name in names:
        data = disk.read(name)
        last = name == names[-1]
        try:
            header, offset = decode_header(data, name)
        except Damage as damage:
            _judge(state, name, data, damage, _first_batch(data, state.epoch), last)
            state.discard = name
            break
        _check_header(state, name, header, cluster_id, node_id)
        state.segments.append(Segment(name, header.sequence, state.lsn))
        state.tail_bytes = _replay(state, name, data, offset, last)
        state.segments[-1].last_lsn = state.lsn
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
    """Fold the records from `offset` on; the length of the intact part."""
    batch: _Batch | None = None
    while offset < len(data):
        try:
            raw = decode_record(data, offset)
        except Damage as damage:
            _judge(state, name, data, damage, batch, last)
            return offset
        try:
            state.apply(raw)
        except Damage as damage:  # intact, yet impossible: records before it are missing
            raise Corrupt(f"{name} is corrupt at {damage}. {REMEDY}") from None
        offset = raw.end
        if raw.kind is Type.SYNC:
            batch = _Batch(state.epoch, offset + raw.fields()[1])
    if batch is None or offset < batch.end:
        _judge(state, name, data, Damage(offset, "the batch is cut off"), batch, last)
    return offset


def _judge(
    state: Recovered, name: str, data: bytes, damage: Damage, batch: _Batch | None, last: bool
) -> None:
    """Return when the damage is a torn write; raise Corrupt when it is not (see the module's table)."""
    where = damage.offset
    proof = later_epoch(data, where, batch.epoch if batch else state.epoch)
    if not last:
        why = "a later segment exists"
    elif proof is not None:
        why = f"a later batch is intact at offset {proof}"
    elif _incomplete(where, len(data), batch) or has_hole(data, where, _record_end(data, where)):
        state.torn = f"{name} at offset {where}: {damage.reason}; {len(data) - where} bytes cut"
        return
    else:
        why = "its write was complete"
    raise Corrupt(f"{name} is corrupt at {damage} ({why}). {REMEDY}")


def _incomplete(where: int, size: int, batch: _Batch | None) -> bool:
    """Whether the file ends before the batch that `where` belongs to does."""
    if batch is None or where >= batch.end:
        return size - where < SYNC_RECORD_BYTES  # a sync record was due here
    return size < batch.end


def _record_end(data: bytes, where: int) -> int:
    """How far the damaged record reaches; a sector at least, as its length may be damaged too."""
    length = int.from_bytes(data[where : where + 4], "little")
    return min(len(data), max(where + SECTOR_BYTES, where + RECORD_HEAD_BYTES + length))


def _first_batch(data: bytes, epoch: int) -> _Batch:
    """The batch that follows a damaged header. None intact: it ends past any cut-off header."""
    start = later_epoch(data, 0, epoch)
    if start is None:
        return _Batch(epoch, HEADER_BYTES_MAX)
    number, size = decode_record(data, start).fields()
    return _Batch(number, start + SYNC_RECORD_BYTES + size)
