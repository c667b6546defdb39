"""The core behaves at the seams between pysyncobj and what is ours."""

from __future__ import annotations

import random

import pytest

from raftstore import entries
from raftstore.config import RaftConfig
from raftstore.core import Core
from raftstore.core_start import Hooks, SnapshotMeta
from raftstore.engine import BATCHES_PER_PORTION
from raftstore.entries import Change
from raftstore.errors import Corrupt
from raftstore.wal.journal import Wal
from raftstore.wal.memdisk import MemoryDisk


def a_wal() -> Wal:
    return Wal.open(MemoryDisk(), cluster_id="test", node_id="A")


class Owner:
    """Records what the core asks for."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, object]]] = []
        self.applied: list[tuple[int, int, bytes]] = []
        self.limit = 10**9

    def hooks(self) -> Hooks:
        return Hooks(
            send=lambda peer, message: self.sent.append((peer, message)),
            may_campaign=lambda: True,
            commit_limit=lambda: self.limit,
            apply=lambda index, term, payload: self.applied.append((index, term, payload)),
            membership_changed=lambda: None,
            disk_full=lambda reason: None,
        )


def a_core(
    voters: tuple[str, ...] = ("A",),
    owner: Owner | None = None,
    wal: Wal | None = None,
    snapshot: SnapshotMeta | None = None,
    config: RaftConfig | None = None,
) -> Core:
    core = Core(
        "A",
        voters,
        journal=a_wal() if wal is None else wal,
        hooks=(owner or Owner()).hooks(),
        config=config or RaftConfig(),
        clock=lambda: 1.0,
        rng=random.Random(1),
        snapshot=snapshot,
    )
    core.election_deadline = 0.0
    return core


def test_a_single_node_leads_and_applies_what_it_appends() -> None:
    owner = Owner()
    core = a_core(owner=owner)
    core.tick()
    assert core.is_leader and core.leader == "A" and core.term == 1
    index = core.append(b"hello")
    core.tick()
    assert owner.applied == [(2, 1, entries.NO_OP), (index, 1, entries.REGULAR + b"hello")]


def test_commit_stops_at_the_limit_and_goes_on_when_it_rises() -> None:
    owner = Owner()
    core = a_core(owner=owner)
    core.tick()
    owner.limit = core.last_index
    index = core.append(b"x")
    core.tick()
    assert core.commit_index == index - 1 == core.applied_index
    owner.limit = index
    core.tick()
    assert core.applied_index == index


def test_a_long_backlog_is_applied_in_batches() -> None:
    owner = Owner()
    core = a_core(owner=owner, config=RaftConfig(apply_batch=10))
    core.tick()
    for _ in range(25):
        core.append(b"x")
    ticks = 1
    while core.tick():
        ticks += 1
    assert ticks == 3 and core.applied_index == core.last_index


def test_entries_are_batched_by_bytes_and_a_large_one_travels_alone() -> None:
    core = a_core(config=RaftConfig(append_batch_bytes=4096))
    core.tick()
    first = core.append(b"a" * 3000)
    core.append(b"b" * 3000)
    core.append(b"c" * 9000)
    assert [e[1] for e in core.entries_from(first, None, True)] == [first]
    assert [e[1] for e in core.entries_from(first + 2, None, True)] == [first + 2]


def test_a_peer_behind_the_compacted_log_gets_heartbeats_and_no_entries() -> None:
    owner = Owner()
    wal = a_wal()
    core = a_core(("A", "B"), owner, wal)
    core.peer_up("B")
    core.tick()
    core.deliver("B", {"type": "response_vote", "term": 1})
    assert core.is_leader
    for _ in range(5):
        core.append(b"x")
    wal.drop_to(5)
    core.acknowledged(
        "B",
        {"type": "next_node_idx", "next_node_idx": 2, "reset": True, "success": False, "term": 1, "q": 1},
        1.0,
    )
    owner.sent.clear()
    core.tick()
    assert [message["type"] for _, message in owner.sent] == ["heartbeat"]


def test_a_peer_that_is_owed_a_lot_gets_the_next_portion_when_it_has_acknowledged_one() -> None:
    """The clock stands still here, as a loop's does within one pass."""
    core, owner, owed = a_leader_that_owes(20)
    got = sent_entries(core, owner)
    while got[-1] < owed[-1]:
        assert sent_entries(core, owner) == []
        core.acknowledged("B", acknowledgement(got[-1] + 1), 1.0)
        portion = sent_entries(core, owner)
        assert portion and len(portion) <= BATCHES_PER_PORTION + 1
        got += portion
    assert got[-len(owed) :] == owed


def test_a_peer_that_has_a_portion_to_acknowledge_is_told_that_the_leader_is_alive_and_what_is_committed() -> (
    None
):
    core, owner, _ = a_leader_that_owes(20)
    last = sent_entries(core, owner)[-1]
    core.append(b"more")
    owner.sent.clear()
    core.tick()
    assert [message for _, message in owner.sent] == [
        {
            "type": "append_entries",
            "term": 1,
            "commit_index": core.commit_index,
            "entries": [],
            "prevLogIdx": last,
            "prevLogTerm": 1,
        }
    ]


def test_a_portion_that_was_lost_is_sent_again() -> None:
    core, owner, _ = a_leader_that_owes(20)
    portion = sent_entries(core, owner)
    core.acknowledged("B", acknowledgement(portion[0]) | {"reset": True, "success": False}, 1.0)
    assert sent_entries(core, owner) == portion


def test_a_portion_counts_for_its_term() -> None:
    core, owner, _ = a_leader_that_owes(20)
    sent_entries(core, owner)
    core.adopt_term("B", 2)
    core.election_deadline = 0.0
    core.tick()
    core.deliver("B", {"type": "response_vote", "term": 3})
    assert core.is_leader and core.term == 3
    assert sent_entries(core, owner) == [core.last_index]


def a_leader_that_owes(count: int) -> tuple[Core, Owner, list[int]]:
    """A leader of term 1 with B at its side, whom it has not sent the newest entries, each a batch of its own."""
    owner = Owner()
    core = a_core(("A", "B"), owner, config=RaftConfig(append_batch_bytes=4096))
    core.peer_up("B")
    core.tick()
    core.deliver("B", {"type": "response_vote", "term": 1})
    core.tick()
    return core, owner, [core.append(b"x" * 4000) for _ in range(count)]


def sent_entries(core: Core, owner: Owner) -> list[int]:
    """The indexes of the entries that one step sends, after those that were sent before it."""
    core.tick()
    batches = [message.get("entries", ()) for _, message in owner.sent]
    owner.sent.clear()
    return [entry[1] for entries in batches for entry in entries]  # type: ignore[attr-defined]


def acknowledgement(next_index: int) -> dict[str, object]:
    answer = {"type": "next_node_idx", "next_node_idx": next_index, "reset": False, "success": True}
    return answer | {"term": 1, "q": 1}


def test_voters_come_from_the_log_then_from_the_snapshot_then_from_the_configuration() -> None:
    assert a_core(("A", "B")).voters == {"A", "B"}
    assert a_core(("A",), snapshot=SnapshotMeta(7, 2, ("A", "C"))).voters == {"A", "C"}
    wal = a_wal()
    wal.add(entries.NO_OP, 7, 2)
    wal.add(Change.of("add", "D", frozenset("AC")).encode(), 8, 2)
    assert a_core(("A",), wal=wal, snapshot=SnapshotMeta(7, 2, ("A", "C"))).voters == {"A", "C", "D"}


def test_a_log_that_contradicts_the_snapshot_starts_anew_at_it() -> None:
    wal = a_wal()
    for index in range(1, 9):
        wal.add(entries.NO_OP, index, 1)
    core = a_core(wal=wal, snapshot=SnapshotMeta(5, 3, ("A",)))
    assert (core.first_index, core.last_index, core.applied_index, core.commit_index) == (5, 5, 5, 5)


def test_a_log_without_its_beginning_and_without_a_snapshot_is_refused() -> None:
    wal = a_wal()
    wal.add(entries.NO_OP, 7, 2)
    with pytest.raises(Corrupt, match="starts at index 7 but there is no snapshot"):
        a_core(wal=wal)
