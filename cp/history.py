"""A window of the past: the last commits, each with the view that it left behind.

A view is a pointer into shared structure, so keeping one per commit costs about what the
commit changed. That gives three answers at no further cost: the state at an index
(`?at=`), the events after an index (watches that resume), and who changed what
(`/history`). Beyond the window the answer is `Compacted`, never a guess.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cp.limits import HISTORY_BYTES_MAX, HISTORY_COMMITS_MAX
from mesh.view import View
from raftstore.errors import Compacted
from raftstore.types import Commit

_EVENT_BYTES = 300  # an event without its value: key, actor, numbers


class Entry(NamedTuple):
    """A commit and the view after it.

    time_ms: when it was committed, never before the commit ahead of it: a new leader's clock may
    be behind the old one's, and time travel must not skip back and forth for that.
    """

    commit: Commit
    view: View
    size: int
    time_ms: int


class History:
    """Entries in index order, after a base: the view that all of them build on."""

    def __init__(
        self,
        base: View,
        *,
        commits_max: int = HISTORY_COMMITS_MAX,
        bytes_max: int = HISTORY_BYTES_MAX,
    ) -> None:
        self._base = base
        # When the base came to be; before a snapshot that is not known, before everything it is.
        self._base_time_ms: int | None = 0 if base.index == 0 else None
        self._entries: list[Entry] = []
        self._start = 0  # entries before it are dropped, and cut off now and then
        self._bytes = 0
        self._commits_max = commits_max
        self._bytes_max = bytes_max

    @property
    def base_index(self) -> int:
        """The oldest index whose state is known, and after which all events are."""
        return self._base.index

    def __len__(self) -> int:
        return len(self._entries) - self._start

    def append(self, commit: Commit, view: View) -> None:
        """Take up the next commit; drop the oldest ones beyond the limits."""
        size = sum(_EVENT_BYTES + len(event.value or b"") for event in commit.events)
        last_ms = self._entries[-1].time_ms if len(self) else self._base_time_ms or 0
        time_ms = max((event.time_ms for event in commit.events), default=0)
        self._entries.append(Entry(commit, view, size, max(last_ms, time_ms)))
        self._bytes += size
        while len(self) > self._commits_max or (self._bytes > self._bytes_max and len(self) > 1):
            oldest = self._entries[self._start]
            self._base, self._base_time_ms = oldest.view, oldest.time_ms
            self._bytes -= oldest.size
            self._start += 1
        if self._start > len(self._entries) // 2 and self._start >= 64:
            del self._entries[: self._start]
            self._start = 0

    def at(self, index: int) -> View:
        """The view at `index`: after the last commit that is not later. Raises Compacted."""
        if index < self.base_index:
            raise Compacted(index, self.base_index)
        position = self._after(index)
        return self._base if position == self._start else self._entries[position - 1].view

    def after(self, index: int) -> Sequence[Commit]:
        """All commits later than `index`, oldest first. Raises Compacted."""
        if index < self.base_index:
            raise Compacted(index, self.base_index)
        return [entry.commit for entry in self._entries[self._after(index) :]]

    def index_at(self, time_ms: int) -> int | None:
        """The last index at or before a time (Unix milliseconds); None for one before the window."""
        position = bisect.bisect_right(self._entries, time_ms, lo=self._start, key=_time_ms)
        if position > self._start:
            return self._entries[position - 1].commit.index
        if self._base_time_ms is None or time_ms < self._base_time_ms:
            return None
        return self.base_index

    @property
    def oldest_time_ms(self) -> int | None:
        """The earliest time that `index_at` has an answer for; None when nothing is kept."""
        if self._base_time_ms is not None:
            return self._base_time_ms
        return self._entries[self._start].time_ms if len(self) else None

    def oldest_first(self, after: int) -> Iterator[tuple[View, Entry]]:
        """Entries later than `after`, each with the view before it. Raises Compacted.

        They are those of now: what is dropped or added meanwhile does not matter.
        """
        before = self.at(after)
        for entry in self._entries[self._after(after) :]:
            yield before, entry
            before = entry.view

    def newest_first(self) -> Iterator[Entry]:
        """Entries from the newest to the oldest that is kept."""
        entries, start = self._entries, self._start
        return (entries[i] for i in range(len(entries) - 1, start - 1, -1))

    def _after(self, index: int) -> int:
        return bisect.bisect_right(self._entries, index, lo=self._start, key=_index)


def _index(entry: Entry) -> int:
    return entry.commit.index


def _time_ms(entry: Entry) -> int:
    return entry.time_ms
