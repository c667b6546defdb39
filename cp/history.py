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
    """A commit and the view after it."""

    commit: Commit
    view: View
    size: int


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
        self._entries.append(Entry(commit, view, size))
        self._bytes += size
        while len(self) > self._commits_max or (self._bytes > self._bytes_max and len(self) > 1):
            oldest = self._entries[self._start]
            self._base = oldest.view
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

    def newest_first(self) -> Iterator[Entry]:
        """Entries from the newest to the oldest that is kept."""
        entries, start = self._entries, self._start
        return (entries[i] for i in range(len(entries) - 1, start - 1, -1))

    def _after(self, index: int) -> int:
        return bisect.bisect_right(self._entries, index, lo=self._start, key=_index)


def _index(entry: Entry) -> int:
    return entry.commit.index
