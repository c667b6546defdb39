"""The log as it came to be: each commit as the first replica that applied it told it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from raftstore.types import Commit, Event

NEVER = 1 << 62


class Truth:
    """Commits by index; entries without events are none."""

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.commits: dict[int, Commit] = {}

    def add(self, index: int, events: tuple[Event, ...]) -> bool:
        """False: another replica made other events of the same entry."""
        known = self.commits.get(index)
        if known is not None:
            return known.events == events
        if events:
            self.indexes.insert(bisect_left(self.indexes, index), index)
            self.commits[index] = Commit(index, events)
        return True

    def first_after(self, index: int) -> int:
        """The first commit above `index`; NEVER when there is none."""
        at = bisect_right(self.indexes, index)
        return self.indexes[at] if at < len(self.indexes) else NEVER
