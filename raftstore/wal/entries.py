"""The log's entries: all of them by index, the newest with their bytes in memory.

What followers and the state machine ask for is nearly always what came last. So of older
entries only term, size, place on disk and first byte stay in memory, some 30 bytes each;
their commands are read from the segments when somebody lags that far behind, a bounded
portion at a time, and checked again.

Only entries that are durable and committed lose their bytes, so whatever is still to be
written, counted or cut is at hand.

Positions count from the first entry that is kept, as pysyncobj does.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Protocol

from raftstore.limits import LOG_MEMORY_BYTES, LOG_MEMORY_ENTRIES, LOG_READ_BYTES

Entry = tuple[bytes, int, int]  # (command, index, term), as pysyncobj has it


class Reader(Protocol):
    """Reads commands back from disk. Blocks."""

    def commands(self, places: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        """Of entries that follow one another; `places` as given to LogEntries.placed. Raises StoreError."""
        ...


class LogEntries:
    """Entries with consecutive indexes, each with the number (lsn) of the change that added it."""

    def __init__(
        self, reader: Reader, *, bytes_max: int = LOG_MEMORY_BYTES, count_max: int = LOG_MEMORY_ENTRIES
    ) -> None:
        """first_index, last_index: 0 when there are none.

        bytes_max, count_max: of the commands in memory, when the rest is durable and committed."""
        self.first_index = 0
        self.last_index = 0
        self.lsns = array("Q")
        self._reader = reader
        self._bytes_max, self._count_max = bytes_max, count_max
        self._terms = array("Q")
        self._sizes = array("Q")
        self._places = array("Q")
        self._kinds = bytearray()
        self._recent: list[bytes] = []  # the commands of the last entries
        self._recent_bytes = 0
        self._first: Entry | None = None
        self._loaded: tuple[int, list[bytes]] = (0, [])  # (index of the first, commands)

    def __len__(self) -> int:
        return len(self._terms)

    @property
    def in_memory(self) -> int:
        """How many of the entries have their commands in memory."""
        return len(self._recent)

    # --- changing ---------------------------------------------------------------------

    def append(self, command: bytes, index: int, term: int, lsn: int, place: int = 0) -> None:
        """The next entry; place 0: not known yet."""
        if not self._terms:
            self.first_index = index
        self.last_index = index
        self.lsns.append(lsn)
        self._terms.append(term)
        self._sizes.append(len(command))
        self._places.append(place)
        self._kinds += command[:1] or b"\0"
        self._recent.append(command)
        self._recent_bytes += len(command)

    def placed(self, index: int, place: int) -> None:
        """Where the entry's record lies: its segment's number << 32 | the offset in it."""
        at = index - self.first_index
        if 0 <= at < len(self):
            self._places[at] = place

    def cut(self, at: int) -> None:
        """Void the entries at position `at` and above."""
        kept = max(0, at - self._evicted)
        self._recent_bytes -= sum(map(len, self._recent[kept:]))
        del self._recent[kept:]
        for column in (self.lsns, self._terms, self._sizes, self._places, self._kinds):
            del column[at:]
        self._loaded, self._first = (0, []), self._first if at > 0 else None
        self._ends()

    def drop(self, at: int) -> None:
        """Forget the entries below position `at`."""
        gone = max(0, at - self._evicted)
        self._recent_bytes -= sum(map(len, self._recent[:gone]))
        del self._recent[:gone]
        for column in (self.lsns, self._terms, self._sizes, self._places, self._kinds):
            del column[:at]
        self.first_index += at
        if at > 0:
            self._first = None
        self._ends()

    def clear(self) -> None:
        self.cut(0)

    def _ends(self) -> None:
        if not self._terms:
            self.first_index = 0
        self.last_index = self.first_index + len(self._terms) - 1 if self._terms else 0

    def evict(self, durable_lsn: int, committed_index: int) -> None:
        """Let go of the oldest commands when there are too many, down to three quarters of what may be."""
        if self._recent_bytes <= self._bytes_max and len(self._recent) <= self._count_max:
            return
        may_go = min(bisect_right(self.lsns, durable_lsn), committed_index + 1 - self.first_index)
        gone = 0
        bytes_goal, count_goal = self._bytes_max * 3 // 4, self._count_max * 3 // 4
        while self._evicted + gone < may_go and self._places[self._evicted + gone]:
            if self._recent_bytes <= bytes_goal and len(self._recent) - gone <= count_goal:
                break
            self._recent_bytes -= len(self._recent[gone])
            gone += 1
        del self._recent[:gone]

    # --- reading ----------------------------------------------------------------------

    def term(self, at: int) -> int:
        return self._terms[at]

    def size(self, at: int) -> int:
        """Bytes of the command."""
        return self._sizes[at]

    def positions(self, first_byte: bytes, start: int) -> Iterator[int]:
        """Where from `start` on the commands begin with that byte."""
        at = self._kinds.find(first_byte, max(0, start))
        while at >= 0:
            yield at
            at = self._kinds.find(first_byte, at + 1)

    def entry(self, at: int) -> Entry:
        if at == 0:  # pysyncobj asks for the first one again and again, to count from its index
            if self._first is None:
                self._first = self.entries(0, 1)[0]
            return self._first
        return self.entries(at, at + 1)[0]

    def entries(self, start: int, stop: int) -> list[Entry]:
        """Those at positions start to stop. Reads from disk what is not in memory; raises StoreError then."""
        return [
            (command, self.first_index + at, self._terms[at])
            for at, command in enumerate(self._commands(start, stop), start)
        ]

    @property
    def _evicted(self) -> int:
        return len(self._terms) - len(self._recent)

    def _commands(self, start: int, stop: int) -> list[bytes]:
        evicted = self._evicted
        if start >= evicted:
            return self._recent[start - evicted : stop - evicted]
        found: list[bytes] = []
        while start < min(stop, evicted):
            portion = self._load(start, min(stop, evicted))
            found += portion
            start += len(portion)
        return found + self._recent[: max(0, stop - evicted)]

    def _load(self, start: int, stop: int) -> list[bytes]:
        """Commands from position `start` on, at most to `stop`, one at least."""
        first, commands = self._loaded
        offset = self.first_index + start - first
        if not 0 <= offset < len(commands):
            # A little more than asked for, as whoever lags asks for what follows next.
            end, size = start, 0
            while end < self._evicted and (end == start or size + self._sizes[end] <= LOG_READ_BYTES):
                size += self._sizes[end]
                end += 1
            commands = self._reader.commands(self._places[start:end], self._sizes[start:end])
            self._loaded, offset = (self.first_index + start, commands), 0
        return commands[offset : offset + stop - start]
