"""Where a node starts: its journal, its snapshot and its configuration made to agree.

They are written at different moments, so a crash leaves any combination: a snapshot
newer than the log, a log that reaches behind it, a stale log that a snapshot was to replace.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from raftstore import entries
from raftstore.entries import Change
from raftstore.errors import Corrupt
from raftstore.journal import Journal


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """Where a snapshot stands: the state after `index`, whose entry has `term`; who votes then."""

    index: int
    term: int
    voters: tuple[str, ...]


def align(journal: Journal, snapshot: SnapshotMeta | None) -> None:
    """Make the journal agree with the snapshot: it continues it, or starts anew right at it."""
    if snapshot is None:
        if len(journal) and journal[0][1] != 1:
            raise Corrupt(
                f"the log starts at index {journal[0][1]} but there is no snapshot of what came before: "
                "restore the snapshot file, or rebuild this replica from its peers"
            )
        return
    if len(journal):
        first, last = journal[0][1], journal[-1][1]
        if first == snapshot.index + 1:
            return
        if first <= snapshot.index <= last and journal[snapshot.index - first][2] == snapshot.term:
            return
    journal.clear()
    journal.add(entries.NO_OP, snapshot.index, snapshot.term)


def voters_at_start(
    journal: Journal, snapshot: SnapshotMeta | None, configured: Collection[str]
) -> Collection[str]:
    """The membership in effect: of the last change in the log, else the snapshot's, else as configured."""
    base = snapshot.index if snapshot else 0
    for payload, index, _ in reversed(journal[:]):
        if index > base and payload[:1] == entries.MEMBERSHIP:
            return Change.decode(payload).after
    return snapshot.voters if snapshot else configured
