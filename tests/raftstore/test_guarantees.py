"""Each judge accepts a history that keeps its promise, and names the promise that another breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from raftstore import guarantees as g
from raftstore.codec import encode_batch
from raftstore.feed import Feed
from raftstore.guarantees import Acked, CutOff, Digest, ReadAt, Served, check_watch
from raftstore.machine import StateMachine
from raftstore.types import (
    Bookmark,
    Commit,
    Delete,
    FeedItem,
    Key,
    Outcome,
    Put,
    Record,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
    Txn,
)

A, B = Key("Mesh", "", "a"), Key("Mesh", "", "b")


def history() -> tuple[list[Commit], list[Acked], list[FeedItem]]:
    """What a real machine and feed made of three transactions: the log, the acks, one watch."""
    machine, feed = StateMachine(), Feed()
    reader = feed.reader(0)
    batches = [
        [Txn((Put(A, b"1"), Put(B, b"1")), request_id="r1")],
        [Txn((Put(A, b"2"),), request_id="r2"), Txn((Put(B, b"2"),), request_id="r3")],
        [Txn((Delete(A),), request_id="r4")],
    ]
    acked = []
    for index, batch in enumerate(batches, 1):
        applied = machine.apply(index, 1, encode_batch(0, batch))
        feed.publish(index, applied.events, machine.state, 0)
        for txn, outcome in zip(batch, applied.outcomes, strict=True):
            writes = tuple((w.key, w.value if isinstance(w, Put) else None) for w in txn.writes)  # type: ignore[union-attr]
            acked.append(Acked(txn.request_id, outcome, writes))
    items = [item for item in iter(reader.next, None) if item is not None]
    return g.commits(items), acked, items


LOG, ACKED, ITEMS = history()
ONE, TWO, THREE = LOG


def test_a_true_history_passes_every_judge() -> None:
    g.check_durable(ACKED, LOG)
    g.check_exactly_once([*ACKED, *ACKED], LOG)  # a retry, answered alike
    check_watch(ITEMS, LOG)
    g.check_resumable([TWO, THREE], LOG, after=1)
    g.check_read_your_writes([ReadAt("n1", A, 1, 1), ReadAt("n2", A, 1, 2), ReadAt("n3", A, 1, 0)], LOG)
    g.check_convergent([Digest("n1", 3, "x"), Digest("n2", 3, "x"), Digest("n1", 4, "y")])
    in_time = Served("n1", "a write", 10.9, 12.0)  # asked for before the timeout was over
    afterwards = Served("n1", "a write", 19.0, 20.1)  # answered when there was a quorum again
    g.check_fenced([in_time, afterwards, Served("n2", "a write", 15, 16)], [CutOff("n1", 10, 20)], 1.0)


def test_a_watch_from_a_snapshot_passes() -> None:
    record = Record(A, b"2", 2, 0, 0)
    items = [
        SnapshotStart(2, 2),
        SnapshotChunk((record, msgspec.structs.replace(record, key=B))),
        SnapshotEnd(2),
        THREE,
        Bookmark(3),
    ]
    check_watch(items, LOG)


def test_every_promise_has_a_named_error() -> None:
    promised = (
        "Durable ExactlyOnce ReadYourWrites Ordered Unique Atomic Reliable Resumable Bookmarkable Convergent "
        "Fenced"
    )
    assert set(g.PROMISES) == set(promised.split())


R1 = ACKED[0]
OUT = Outcome(1)
SNAP = (SnapshotStart(2, 1), SnapshotChunk((Record(A, b"", 1, 0, 0),)), SnapshotEnd(2))

VIOLATIONS: list[tuple[type[g.Violation], str, Callable[[], None]]] = [
    (g.Durable, "r1.*Mesh//a", lambda: g.check_durable(ACKED, LOG[1:])),
    (g.Durable, "r1", lambda: g.check_durable([replace(R1, outcome=Outcome(2))], LOG)),
    (g.Durable, "r1", lambda: g.check_durable([R1], [Commit(1, ONE.events[:1])])),
    (
        g.ExactlyOnce,
        "took effect at 1 and at 4",
        lambda: g.check_exactly_once([], [*LOG, Commit(4, ONE.events)]),
    ),
    (
        g.ExactlyOnce,
        "made 4 events of 2 writes",
        lambda: g.check_exactly_once([R1], [Commit(1, ONE.events + ONE.events)]),
    ),
    (
        g.ExactlyOnce,
        "was answered",
        lambda: g.check_exactly_once([Acked("r9", Outcome(3, 0)), Acked("r9", Outcome(4, 0))], LOG),
    ),
    (
        g.ExactlyOnce,
        "took effect at 1, the answer was",
        lambda: g.check_exactly_once([Acked("r1", Outcome(1, 0))], LOG),
    ),
    (
        g.ReadYourWrites,
        "n2 .* with version 1; there it was 2",
        lambda: g.check_read_your_writes([ReadAt("n2", A, 2, 1)], LOG),
    ),
    (
        g.ReadYourWrites,
        "with version 0; there it was 2",
        lambda: g.check_read_your_writes([ReadAt("n2", B, 2, 0)], LOG),
    ),
    (
        g.ReadYourWrites,
        "with version 2; there it was 0",
        lambda: g.check_read_your_writes([ReadAt("n2", A, 3, 2)], LOG),
    ),
    (g.Ordered, "Commit 1 came after index 2", lambda: g.check_ordered([TWO, ONE])),
    (g.Ordered, "Bookmark 2 came after index 3", lambda: g.check_ordered([THREE, Bookmark(2)])),
    (g.Ordered, "SnapshotStart 2", lambda: g.check_ordered([THREE, *SNAP])),
    (g.Unique, "commit 2 came twice", lambda: g.check_unique([ONE, TWO, TWO])),
    (g.Unique, "commit 2 came twice", lambda: g.check_unique([*SNAP, TWO])),
    (g.Atomic, "1 events, the log has 2", lambda: g.check_atomic([Commit(1, ONE.events[:1])], LOG)),
    (g.Atomic, "holds events of index 1", lambda: g.check_atomic([Commit(2, ONE.events)], LOG)),
    (g.Atomic, "came with 2 events", lambda: g.check_atomic([Commit(1, ONE.events[::-1])], LOG)),
    (g.Atomic, "within a snapshot", lambda: g.check_atomic([SNAP[0], THREE], LOG)),
    (g.Atomic, "1 records short", lambda: g.check_atomic([SNAP[0], SNAP[2]], LOG)),
    (g.Atomic, "outside of a snapshot", lambda: g.check_atomic([SNAP[1]], LOG)),
    (g.Reliable, "commit 2 is missing", lambda: g.check_reliable([ONE, THREE], LOG)),
    (g.Reliable, "commit 1 is missing", lambda: g.check_reliable([Bookmark(1)], LOG)),
    (g.Reliable, "not in the log", lambda: g.check_reliable([ONE, TWO], [ONE])),
    (g.Resumable, "got commit 3 where 2 was due", lambda: g.check_resumable([THREE], LOG, after=1)),
    (g.Resumable, "got commit 1 where 2 was due", lambda: g.check_resumable([ONE, TWO], LOG, after=1)),
    (g.Resumable, "where nothing was due", lambda: g.check_resumable([THREE], LOG, after=3)),
    (
        g.Bookmarkable,
        "bookmark 3 came before commit 3",
        lambda: g.check_bookmarkable([ONE, TWO, Bookmark(3), THREE], LOG),
    ),
    (
        g.Convergent,
        "n1 and n2 differ at index 3: x and y",
        lambda: g.check_convergent([Digest("n1", 3, "x"), Digest("n2", 3, "y")]),
    ),
    (
        g.Fenced,
        "n1 had no quorum for 1.50 s when it was asked, and served a read of a",
        lambda: g.check_fenced([Served("n1", "a read of a", 11.5, 11.6)], [CutOff("n1", 10, 20)], 1.0),
    ),
]


@pytest.mark.parametrize(("promise", "evidence", "judge"), VIOLATIONS)
def test_a_broken_promise_is_named(
    promise: type[g.Violation], evidence: str, judge: Callable[[], None]
) -> None:
    with pytest.raises(promise, match=evidence) as caught:
        judge()
    assert type(caught.value) is promise


def test_check_watch_raises_what_the_parts_raise() -> None:
    with pytest.raises(g.Reliable):
        check_watch([ONE, THREE], LOG)
    with pytest.raises(g.Atomic):
        check_watch([ONE, Commit(2, TWO.events[:1]), THREE], LOG)
