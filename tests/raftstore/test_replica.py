"""The driver of a replica, three of them on one loop over real TLS and real files."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from raftstore import limits
from raftstore.errors import Overloaded, TooLarge, Unavailable, UnknownOutcome
from raftstore.replica import STALL_S, Replica
from raftstore.settings import StoreConfig
from raftstore.types import Exists, Key, Put, Txn
from tests.raftstore.replicas import DEADLINE_S, Replicas, put, read, until


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Replicas]:
    made = Replicas(tmp_path, 3)
    await made.start()
    yield made
    await made.close()


async def test_writes_that_arrive_together_share_entries_and_syncs(three: Replicas) -> None:
    leader = await three.leader()
    await leader.submit(put("first"))
    entries, syncs = leader.node.commit_index, leader.disk.syncs
    outcomes = await asyncio.gather(*(leader.submit(put(f"w{n}")) for n in range(300)))
    assert all(outcome.applied for outcome in outcomes)
    assert leader.node.commit_index - entries < 60 and leader.disk.syncs - syncs < 60
    records, events = await read(leader, outcomes[-1].index, after=0)
    assert len(records) == 301
    assert [event.key.name for event in events] == ["first"] + [f"w{n}" for n in range(300)]


async def test_a_follower_forwards_in_order_and_answers_when_it_has_applied(three: Replicas) -> None:
    (follower, _) = await three.followers()
    writes = [asyncio.create_task(follower.submit(put("same", b"%d" % n))) for n in range(50)]
    for write in writes:
        outcome = await write
        assert follower.machine.state.index >= outcome.index
    assert follower.machine.state.get(Key("Thing", "default", "same")).value == b"49"  # type: ignore[union-attr]


async def test_a_guard_that_fails_is_an_outcome(three: Replicas) -> None:
    key = Key("Thing", "default", "absent")
    outcome = await (await three.leader()).submit(Txn((Put(key, b"v"),), (Exists(key),)))
    assert not outcome.applied and outcome.failed_guard == 0


async def test_times_are_the_leaders_and_equal_everywhere(three: Replicas) -> None:
    (follower, _) = await three.followers()
    outcome = await follower.submit(put("stamped"))
    found = [(await read(replica, outcome.index, after=0))[1] for replica in three.running.values()]
    assert found[0] == found[1] == found[2] and found[0][0].time_ms > 1_600_000_000_000
    assert found[0][0].via == follower.id and found[0][0].request_id


async def test_requests_leave_no_cycles(three: Replicas) -> None:
    """They would stay for ever: a store process sets aside what it has in use (collector.py)."""
    leader, follower = await three.leader(), (await three.followers())[0]
    gc.collect()
    gc.disable()
    try:
        for replica in (leader, follower):
            await asyncio.gather(*(replica.submit(put(f"w{n}"), timeout_s=DEADLINE_S) for n in range(200)))
            await asyncio.gather(*(replica.read_index(timeout_s=DEADLINE_S) for _ in range(200)))
        left = gc.collect()
    finally:
        gc.enable()
    assert left < 200


async def test_reads_are_linearizable_on_followers(three: Replicas) -> None:
    leader, followers = await three.leader(), await three.followers()
    for number in range(10):
        outcome = await leader.submit(put(f"w{number}"))
        for follower in followers:
            index = await follower.read_index()
            assert index >= outcome.index and follower.machine.state.index >= outcome.index


async def test_too_large_is_refused_before_anything_happens(three: Replicas) -> None:
    leader = await three.leader()
    before = leader.node.last_index
    with pytest.raises(TooLarge, match="value"):
        await leader.submit(put("big", b"x" * (limits.VALUE_BYTES_MAX + 1)))
    assert leader.node.last_index == before


async def test_too_many_at_once_are_refused_and_the_others_go_through(three: Replicas) -> None:
    leader = await three.leader()
    told: list[object] = []
    encoded = b"not a transaction, which the state machine tells too"
    with pytest.raises(Overloaded):
        for _ in range(limits.SUBMITS_WAITING_MAX + 1):
            leader.submit_encoded(encoded, 30.0, told.append)
    await until(lambda: len(told) == limits.SUBMITS_WAITING_MAX, "all that were taken are answered")


async def test_a_new_leader_takes_over_what_was_under_way(three: Replicas) -> None:
    leader, (follower, _) = await three.leader(), await three.followers()
    await follower.submit(put("first"))
    writes = [asyncio.create_task(follower.submit(put(f"w{n}"), timeout_s=15.0)) for n in range(200)]
    await asyncio.sleep(0)
    await three.stop(leader.id)
    outcomes = await asyncio.gather(*writes)
    assert all(outcome.applied for outcome in outcomes)
    _, events = await read(follower, max(o.index for o in outcomes), after=0)
    assert [event.key.name for event in events] == ["first"] + [f"w{n}" for n in range(200)]


async def test_an_unknown_outcome_is_decided_once_whoever_is_asked_again(three: Replicas) -> None:
    leader, followers = await three.leader(), await three.followers()
    for follower in followers:
        await three.stop(follower.id)
    txn = put("w", b"1", request_id="r1")
    # In its log, and at nobody else's; unless it has found out already that it leads no more.
    with pytest.raises((UnknownOutcome, Unavailable)):
        await leader.submit(txn, timeout_s=1.0)
    for follower in followers:
        await three.start(follower.id)
    asked = [replica.submit(txn, timeout_s=40.0) for replica in three.running.values()]
    outcomes = await asyncio.gather(*asked)
    assert len(set(outcomes)) == 1 and outcomes[0].applied
    for replica in three.running.values():
        _, events = await read(replica, outcomes[0].index, after=0)
        assert [event.request_id for event in events] == ["r1"]


async def test_alone_it_says_that_there_is_no_quorum(three: Replicas) -> None:
    followers = await three.followers()
    leader = await three.leader()
    await three.stop(followers[1].id)
    await three.stop(leader.id)  # last: two that are left would elect one of them within milliseconds
    left = followers[0]
    with pytest.raises(Unavailable, match=f"no quorum: of n1, n2, n3 only {left.id}"):
        await left.submit(put("w"), timeout_s=3.0)
    status = await left.status()
    assert not status.has_quorum and status.leader is None
    assert {m.id: m.connected for m in status.members} == {n: n == left.id for n in ("n1", "n2", "n3")}


async def test_the_status_of_a_leader_tells_how_far_each_is(three: Replicas) -> None:
    leader = await three.leader()
    outcome = await leader.submit(put("w"))
    await until(
        lambda: all(
            leader.node.match_index(f.id) >= outcome.index for f in three.running.values() if f is not leader
        ),
        "both followers hold it",
    )
    status = await leader.status()
    assert status.role == "leader" and status.leader == leader.id and status.has_quorum
    assert {
        m.id for m in status.members if m.role == "follower" and (m.match_index or 0) >= outcome.index
    } == {f.id for f in await three.followers()}
    assert status.commit_index == status.applied_index == status.durable_index == outcome.index


async def test_an_unexpected_error_ends_the_replica(three: Replicas) -> None:
    """A machine that raises must not go on with half an entry."""
    leader = await three.leader()
    leader.machine.state = None  # type: ignore[assignment]
    with pytest.raises(UnknownOutcome):
        await leader.submit(put("w"))
    with pytest.raises(AttributeError):
        await leader.failed
    with pytest.raises(Unavailable, match="has ended"):
        await leader.submit(put("w"))


async def test_an_unexpected_error_of_the_timer_ends_it_too(tmp_path: Path) -> None:
    """Else it would go on without elections, deadlines and changes of the membership."""
    replica = await Replica.start(StoreConfig(node_id="n1", data_dir=str(tmp_path / "data")))
    replica.machine.state = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        async with asyncio.timeout(DEADLINE_S):
            await replica.failed
    await replica.close()


async def test_an_unexpected_error_over_a_frame_ends_it_too(three: Replicas) -> None:
    """The link alone would end, and come back, and end."""
    follower = (await three.followers())[0]
    follower.node.guard = None  # type: ignore[assignment]
    with pytest.raises(AttributeError):
        async with asyncio.timeout(DEADLINE_S):
            await follower.failed


async def test_where_every_pass_of_the_loop_is_slow_there_are_turns_all_the_same(tmp_path: Path) -> None:
    """A follower that reads what it was owed is such a place, and so is a machine with too much to do."""
    one = Replicas(tmp_path, 1, election_timeout_min_s=20.0, election_timeout_max_s=40.0)
    await one.start()
    replica, loop, slow = await one.leader(), asyncio.get_running_loop(), True

    def slow_down() -> None:
        time.sleep(1.2 * STALL_S)
        if slow:
            loop.call_soon(slow_down)

    slow_down()
    try:
        async with asyncio.timeout(DEADLINE_S):
            await replica.submit(put("a"), timeout_s=DEADLINE_S)
    finally:
        slow = False
        await one.close()
