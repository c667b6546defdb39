"""Whatever a crash left of journal and snapshot, they are made to agree, or refused."""

from __future__ import annotations

import pytest

from raftstore import entries
from raftstore.core_start import SnapshotMeta, align, voters_at_start
from raftstore.entries import Change
from raftstore.errors import Corrupt
from raftstore.wal.journal import Wal
from raftstore.wal.memdisk import MemoryDisk

AB = ("A", "B")


def journal(*terms: int, first: int = 1) -> Wal:
    """A log whose entries have these terms."""
    wal = Wal.open(MemoryDisk(), cluster_id="test", node_id="A")
    for index, term in enumerate(terms, first):
        wal.add(entries.REGULAR, index, term)
    return wal


@pytest.mark.parametrize(
    ("wal", "snapshot", "left"),
    [
        (journal(), None, []),
        (journal(1, 1), None, [1, 2]),
        (journal(), SnapshotMeta(5, 2, AB), [5]),
        (journal(1, 1), SnapshotMeta(5, 2, AB), [5]),  # the snapshot is ahead of the log
        (journal(1, 1, 2), SnapshotMeta(2, 1, AB), [1, 2, 3]),  # inside: what follows stays
        (journal(2, 2, first=6), SnapshotMeta(5, 2, AB), [6, 7]),  # the log continues it
        (journal(1, 1, 1), SnapshotMeta(2, 2, AB), [2]),  # a stale log that was to be replaced
    ],
)
def test_the_log_agrees_with_the_snapshot(wal: Wal, snapshot: SnapshotMeta | None, left: list[int]) -> None:
    align(wal, snapshot)
    assert [index for _, index, _ in wal[:]] == left


def test_a_log_without_its_beginning_is_refused() -> None:
    with pytest.raises(Corrupt, match="starts at index 6 but there is no snapshot of what came before"):
        align(journal(1, first=6), None)


def test_a_gap_between_snapshot_and_log_is_refused() -> None:
    """To begin anew at the snapshot would forget what this replica has acknowledged, and vote."""
    wal = journal(2, 2, first=9)
    with pytest.raises(
        Corrupt, match=r"starts at index 9 but the newest snapshot ends at 5.*--recover-from-peers"
    ):
        align(wal, SnapshotMeta(5, 2, AB))
    assert [index for _, index, _ in wal[:]] == [9, 10]


def test_the_last_change_above_the_snapshot_says_who_votes() -> None:
    wal = journal(1, 1)
    for index, node in enumerate("CD", 3):
        wal.add(Change.of("add", node, frozenset(AB if node == "C" else "ABC")).encode(), index, 1)
    assert voters_at_start(wal, None, AB) == ("A", "B", "C", "D")
    assert voters_at_start(wal, SnapshotMeta(3, 1, ("A", "B", "C")), AB) == ("A", "B", "C", "D")
    assert voters_at_start(wal, SnapshotMeta(4, 1, ("X",)), AB) == ("X",)
    assert voters_at_start(journal(1), None, AB) == AB
