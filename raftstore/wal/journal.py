"""The write-ahead log: its newest entries and hard state in memory, their records on the way to disk.

The core is sans-io in this sense: changing the log only changes memory and a buffer.
The shell decides when bytes move, and blocks only in a thread:

    batch = wal.take()                     # on the loop; None when nothing waits
    wal.write(batch)                       # anywhere; one write, one fdatasync
    wal.mark_durable(batch.lsn)            # on the loop; now it may be acknowledged

All that waited shares one fdatasync (group commit). `flush()` does the three at once.

Every change has a number, its *lsn* (log sequence number); `durable_lsn` is the highest
below which all are on disk, and `durable_index` the entry that this covers. Whoever
acknowledges an entry, the leader itself included, compares with that.

Hard state (term and vote) must be durable before the message that shows it leaves
(Raft, figure 2): `setCurrentTerm` flushes, or, for a shell that holds its messages back
meanwhile, `note_hard_state` leaves it to the next batch. When the disk is full it raises DiskFull,
memory and buffer keep the change, and `hard_state_durable` is False until a later
write succeeds: until then no message may leave.

A segment that a snapshot has made superfluous is kept to be used again (`wipe`): writing over
a file whose blocks are there takes half the time of growing one, as nothing but data has
to reach the disk. It is overwritten with zeros first, so that recovery still tells what was
never written by it, and checksums tell its old content from new (format.py).

The camel-case methods and the tuples `(command, index, term)` are the interface of
pysyncobj.journal.Journal, met by shape; nothing here imports it.
"""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import overload

from raftstore.errors import DiskFailed, DiskFull, StoreError
from raftstore.limits import MIB, WAL_SEGMENT_BYTES, WAL_SPARES
from raftstore.wal.disk import Disk, disk_error
from raftstore.wal.entries import Entry
from raftstore.wal.format import (
    SYNC_RECORD_BYTES,
    Header,
    Seeds,
    Type,
    encode_header,
    encode_record,
    encode_sync,
    reseal,
    seeds_of,
)
from raftstore.wal.recovery import SUFFIX, Recovered, Segment, place, recover, segment_name

# A segment that is being wiped, and one that may be used again.
WIPING, FREE = ".wiping", ".free"
_WIPE_BYTES = MIB


@dataclass(frozen=True, slots=True)
class Batch:
    """Bytes that go to disk together. `offset` is where they belong in `segment`."""

    segment: str
    offset: int
    data: bytes
    lsn: int


class Wal:
    """One replica's log. Made by `Wal.open`. Not thread-safe but for write() and collect_garbage()."""

    def __init__(
        self, disk: Disk, state: Recovered, cluster_id: str, node_id: str, segment_bytes: int
    ) -> None:
        self.torn = state.torn
        self._disk = disk
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._segment_bytes = segment_bytes
        self._log = state.log
        self._term = state.term
        self._vote = state.vote
        self._commit = self._commit_written = state.commit
        self._lsn = self._durable_lsn = self._hard_state_lsn = state.lsn
        self._void_lsn = 0
        self._epoch = state.epoch
        self._segments = state.segments
        self._tail_bytes = state.tail_bytes
        self._tail_size = state.tail_size  # of the file; larger when it is one used again
        self._wiping: deque[tuple[str, int]] = deque()  # (name, how much is done)
        self._spares: deque[str] = deque()
        self._buffer: list[bytes] = []
        self._buffer_bytes = 0
        self._buffer_entries: list[tuple[int, int]] = []  # (offset in the buffer, index)
        self._unwritten: deque[Batch] = deque()
        self._io = threading.Lock()
        self._dirty = False
        self._broken: StoreError | None = None

    @classmethod
    def open(
        cls, disk: Disk, *, cluster_id: str, node_id: str, segment_bytes: int = WAL_SEGMENT_BYTES
    ) -> Wal:
        """Recover the log from `disk`, cutting a torn tail. Blocks.

        Raises Corrupt, WrongDataDir, DiskFull, DiskFailed.
        """
        try:
            state = recover(disk, cluster_id, node_id)
            if state.discard:
                disk.unlink(state.discard)
            if state.segments:
                # Also after a clean end: a killed process may have written without a sync.
                tail = state.segments[-1].name
                if state.torn and not state.discard:
                    disk.truncate(tail, state.tail_bytes)
                    state.tail_size = state.tail_bytes
                disk.datasync(tail)
            for name in disk.list():
                if name.endswith(WIPING):
                    disk.unlink(name)
            disk.sync_dir()
            wal = cls(disk, state, cluster_id, node_id, segment_bytes)
            wal._spares.extend(name for name in disk.list() if name.endswith(FREE))
        except OSError as error:
            raise disk_error(error, "opening the log") from error
        return wal

    # --- where the log stands ---------------------------------------------------------

    @property
    def lsn(self) -> int:
        """Number of the last change, durable or not."""
        return self._lsn

    @property
    def durable_lsn(self) -> int:
        return self._durable_lsn

    @property
    def durable_index(self) -> int:
        """The highest index such that every entry up to it is on disk; 0 when there is none."""
        durable = bisect_right(self._log.lsns, self._durable_lsn)
        return self._log.first_index + durable - 1 if durable else 0

    @property
    def first_index(self) -> int:
        return self._log.first_index

    @property
    def last_index(self) -> int:
        return self._log.last_index

    @property
    def in_memory(self) -> int:
        """How many entries' commands are in memory; the others are read from disk when asked for."""
        return self._log.in_memory

    @property
    def hard_state_durable(self) -> bool:
        """Whether term and vote are on disk; no message may leave while they are not."""
        return self._durable_lsn >= self._hard_state_lsn

    def pending(self) -> bool:
        """Whether changes wait to be written."""
        return bool(self._buffer or self._unwritten)

    @property
    def pending_bytes(self) -> int:
        """Bytes in memory that are not on disk; what back-pressure looks at."""
        return self._buffer_bytes + sum(len(batch.data) for batch in tuple(self._unwritten))

    @property
    def segments(self) -> tuple[str, ...]:
        return tuple(segment.name for segment in self._segments)

    # --- pysyncobj's Journal ----------------------------------------------------------

    def add(self, command: bytes, idx: int, term: int) -> None:
        """Append an entry. Raises ValueError when it does not follow the last, or is too large."""
        if len(self._log) and idx != self._log.last_index + 1:
            raise ValueError(f"entry {idx} does not follow entry {self._log.last_index}")
        offset = self._buffer_bytes
        self._record(Type.ENTRY, (idx, term, command))
        self._buffer_entries.append((offset, idx))
        self._log.append(command, idx, term, self._lsn)

    def clear(self) -> None:
        """Void the whole log: a snapshot takes its place."""
        self._record(Type.RESET, ())
        self._void(0)

    def deleteEntriesFrom(self, entryFrom: int) -> None:
        """Void the entries from *position* entryFrom on."""
        if entryFrom == 0:
            self.clear()  # on disk, entries before the first one kept in memory would come back
        elif entryFrom < len(self._log):
            self._record(Type.TRUNCATE, (self._log.first_index + entryFrom,))
            self._void(entryFrom)

    def deleteEntriesTo(self, entryTo: int) -> None:
        """Forget the entries before *position* entryTo, never the last one; see drop_to."""
        self._log.drop(max(0, min(entryTo, len(self._log) - 1)))

    @overload
    def __getitem__(self, item: int) -> Entry: ...
    @overload
    def __getitem__(self, item: slice) -> list[Entry]: ...
    def __getitem__(self, item: int | slice) -> Entry | list[Entry]:
        """Raises StoreError when an older entry cannot be read from disk."""
        if isinstance(item, slice):
            start, stop, _ = item.indices(len(self._log))
            return self._log.entries(start, stop)
        at = item if item >= 0 else item + len(self._log)
        if not 0 <= at < len(self._log):
            raise IndexError(f"position {item} of a log of {len(self._log)} entries")
        return self._log.entry(at)

    def __len__(self) -> int:
        return len(self._log)

    def term(self, at: int) -> int:
        """Of the entry at position `at`. Neither this nor the next two touch the disk."""
        return self._log.term(at)

    def size(self, at: int) -> int:
        """Bytes of the command at position `at`."""
        return self._log.size(at)

    def positions(self, first_byte: bytes, start: int) -> list[int]:
        """Where, from position `start` on, the commands begin with that byte."""
        return list(self._log.positions(first_byte, start))

    def setRaftCommitIndex(self, raftCommitIndex: int) -> None:
        """Noted with the next batch: losing it costs nothing, so it earns no sync of its own."""
        self._commit = raftCommitIndex

    def getRaftCommitIndex(self) -> int:
        """Never beyond the log's end: a larger one would commit without a quorum."""
        return max(1, min(self._commit, self.last_index))

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        """Durable on return. Raises DiskFull (see the module's text), DiskFailed."""
        self.note_hard_state(term, votedForNodeId)
        if not self.hard_state_durable:
            self.flush()

    def note_hard_state(self, term: int, vote: str | None) -> None:
        """Durable with the next batch; until then no message may leave (`hard_state_durable`)."""
        if (term, vote) != (self._term, self._vote):
            self._term, self._vote = term, vote
            self._record(Type.HARD_STATE, (term, vote))
            self._hard_state_lsn = self._lsn

    def getCurrentTerm(self) -> int:
        return self._term

    def getVotedForNodeId(self) -> str | None:
        return self._vote

    def onOneSecondTimer(self) -> None:
        """Nothing: the shell drives the writes."""

    def _destroy(self) -> None:
        self.close()

    # --- group commit -----------------------------------------------------------------

    def take(self) -> Batch | None:
        """What waits, as one batch for write(), or again the last batch that is still unwritten.

        None when everything is on disk.
        """
        if not self._buffer:
            unwritten = tuple(self._unwritten)
            return unwritten[-1] if unwritten else None
        head, body, restated_bytes = b"", self._buffer, 0
        if not self._segments or self._tail_bytes + self._buffer_bytes > self._segment_bytes:
            head, restated = self._next_segment()
            seeds = self._segments[-1].seeds
            restated_bytes = sum(map(len, restated))
            body = restated + [reseal(record, seeds) for record in body]
        elif self._commit != self._commit_written:
            body = body + [encode_record(Type.COMMIT, (self._commit,), self._segments[-1].seeds)]
        self._commit_written = self._commit
        self._epoch += 1
        records, tail = b"".join(body), self._segments[-1]
        data = head + encode_sync(self._epoch, len(records), tail.seeds) + records
        start = self._tail_bytes + len(head) + SYNC_RECORD_BYTES + restated_bytes
        for offset, index in self._buffer_entries:
            self._log.placed(index, place(tail.sequence, start + offset))
        batch = Batch(tail.name, self._tail_bytes, data, self._lsn)
        tail.last_lsn = self._lsn
        self._tail_bytes += len(data)
        self._buffer, self._buffer_bytes, self._buffer_entries = [], 0, []
        self._unwritten.append(batch)
        return batch

    def write(self, batch: Batch | None = None) -> None:
        """Put every batch taken so far on disk, in order. Blocks; safe in a thread.

        Raises DiskFull: everything is kept, call again later, with the same batch or
        none. Raises DiskFailed: the process must end.
        """
        with self._io:
            while self._unwritten and (batch is None or self._unwritten[0].lsn <= batch.lsn):
                if self._broken is not None:
                    raise self._broken
                self._write_one(self._unwritten[0])
                self._unwritten.popleft()

    def mark_durable(self, lsn: int) -> None:
        """Note that every change up to `lsn` is on disk (write() returned)."""
        self._durable_lsn = max(self._durable_lsn, lsn)
        self._log.evict(self._durable_lsn, self._commit)

    def flush(self) -> None:
        """Put everything on disk now. Blocks the caller for one fdatasync or two."""
        batch = self.take()
        if batch is not None:
            self.write(batch)
            self.mark_durable(batch.lsn)

    def close(self) -> None:
        """Flush and release the files. Raises DiskFull, DiskFailed; files are released anyway."""
        try:
            if self._commit != self._commit_written:
                self._buffer.append(encode_record(Type.COMMIT, (self._commit,), self._seeds))
                self._commit_written = self._commit
            self.flush()
        finally:
            self._disk.close()

    # --- dropping what a snapshot covers ----------------------------------------------

    def drop_to(self, index: int, *, collect: bool = True) -> None:
        """Forget the entries below `index` (never the last one), and the segments that hold only such.

        Only after a snapshot at or above `index` is durable. collect=False leaves the
        files to a later collect_garbage() and wipe(), e.g. in threads.
        """
        if len(self._log) and index > self._log.first_index:
            self.deleteEntriesTo(index - self._log.first_index)
        if collect:
            self.collect_garbage()
            while self.wipe():
                pass

    def collect_garbage(self) -> int:
        """Let go of the oldest segments that hold no live entry; how many. Blocks; safe in a thread.

        One by one, each removal durable before the next: a power cut may then leave
        more segments than needed, never a gap.
        """
        with self._io:
            first = self._log.lsns[:1]  # one step, and the first: the loop may change the log meanwhile
            if self._durable_lsn < self._void_lsn:
                return 0  # a crash now would bring back what that record voids
            # Below what is durable, so that the next segment is, too: it restates term and vote.
            limit = min(first[0] if first else self._durable_lsn, self._durable_lsn)
            removed = 0
            while len(self._segments) > 1 and self._segments[0].last_lsn < limit:
                self._let_go(self._segments[0].name)
                del self._segments[0]
                removed += 1
            return removed

    def wipe(self) -> bool:
        """Prepare what collect_garbage() kept for its next use, a portion each call; whether there is more.

        Blocks, but not write(), so use another thread. Raises DiskFull, DiskFailed; what is not wiped
        then is removed by the next start.
        """
        if not self._wiping:
            return False
        name, at = self._wiping[0]
        try:
            size = min(_WIPE_BYTES, self._disk.size(name) - at)
            if size > 0:
                self._disk.blank(name, at, size)
                self._wiping[0] = (name, at + size)
                return True
            free = name.removesuffix(WIPING) + FREE
            self._disk.rename(name, free)
            self._disk.sync_dir()
        except OSError as error:
            self._wiping.popleft()
            raise disk_error(error, f"wiping log segment {name}") from error
        self._spares.append(free)
        self._wiping.popleft()
        return bool(self._wiping)

    def _let_go(self, name: str) -> None:
        """Keep the file to be used again, or remove it; either is durable on return."""
        kept = len(self._wiping) + len(self._spares) < WAL_SPARES
        try:
            if kept:
                waste = name.removesuffix(SUFFIX) + WIPING
                self._disk.rename(name, waste)
            else:
                self._disk.unlink(name)
            self._disk.sync_dir()
        except OSError as error:
            raise disk_error(error, f"removing log segment {name}") from error
        if kept:
            self._wiping.append((waste, 0))

    # --- inside -----------------------------------------------------------------------

    @property
    def _seeds(self) -> Seeds:
        """Of the segment that the next record goes to, unless it turns out to be full."""
        return self._segments[-1].seeds if self._segments else seeds_of(1)

    def _void(self, at: int) -> None:
        """The entries from position `at` on are void once the last record is durable."""
        self._void_lsn = self._lsn
        first_void = self._log.first_index + at
        while self._buffer_entries and self._buffer_entries[-1][1] >= first_void:
            self._buffer_entries.pop()
        self._log.cut(at)

    def _record(self, kind: Type, fields: tuple[object, ...]) -> None:
        data = encode_record(kind, fields, self._seeds)
        self._lsn += 1
        self._buffer.append(data)
        self._buffer_bytes += len(data)

    def _next_segment(self) -> tuple[bytes, list[bytes]]:
        """Start a segment: its header, and the state restated, so that older ones can go."""
        sequence = self._segments[-1].sequence + 1 if self._segments else 1
        header = Header(self._cluster_id, self._node_id, sequence, self.last_index + 1)
        self._segments.append(Segment(segment_name(sequence), sequence, self._lsn, header.seeds))
        self._tail_bytes = 0
        restated = [
            encode_record(Type.HARD_STATE, (self._term, self._vote), header.seeds),
            encode_record(Type.COMMIT, (self._commit,), header.seeds),
        ]
        return encode_header(header), restated

    def _write_one(self, batch: Batch) -> None:
        """One write and one sync. After a failure the next try starts by cutting what it left."""
        try:
            if batch.offset == 0:
                self._tail_size = self._take_spare(batch.segment)
            if batch.offset < self._tail_size:
                self._disk.write_at(batch.segment, batch.offset, batch.data)
            else:
                if self._dirty:
                    self._disk.truncate(batch.segment, batch.offset)
                self._dirty = True
                self._disk.append(batch.segment, batch.data)
            self._disk.datasync(batch.segment)
            if batch.offset == 0:
                self._disk.sync_dir()
            self._dirty = False
            self._tail_size = max(self._tail_size, batch.offset + len(batch.data))
        except OSError as error:
            failure = disk_error(error, f"writing log segment {batch.segment}")
            if isinstance(failure, DiskFailed):
                self._broken = failure
            elif isinstance(failure, DiskFull):
                self._drop_spares()
            raise failure from error

    def _take_spare(self, name: str) -> int:
        """Use a spare file as `name`, if there is one; its size, 0 without."""
        if name in self._disk.list():  # an earlier try, on a full disk, got so far
            return self._disk.size(name)
        if not self._spares:
            return 0
        spare = self._spares.popleft()
        size = self._disk.size(spare)
        self._disk.rename(spare, name)
        # First, or a power cut could give back a spare with records in it.
        self._disk.sync_dir()
        return size

    def _drop_spares(self) -> None:
        """The disk is full, and here is what nobody needs."""
        while self._spares:
            with contextlib.suppress(OSError):
                self._disk.unlink(self._spares.popleft())
