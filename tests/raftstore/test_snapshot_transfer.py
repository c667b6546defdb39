"""A follower that the log does not reach any more, over real TLS; also when the link breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import google_crc32c
import pytest

from raftstore import limits
from raftstore.embedded import EmbeddedStore
from raftstore.errors import StoreError
from raftstore.replica import Replica
from raftstore.settings import StoreConfig
from raftstore.snapshot_receiving import Offer
from tests.raftstore.replicas import Replicas, put, read, until


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Replicas]:
    made = Replicas(tmp_path, 3, snapshot_entries=100_000, keep_entries=5)
    await made.start()
    yield made
    await made.close()


async def behind(three: Replicas) -> tuple[Replica, str, int]:
    """(leader, the follower that is stopped, the last index): its log is compacted away."""
    leader, (away, _) = await three.leader(), await three.followers()
    await away.submit(put("first"))
    await three.stop(away.id)
    block = os.urandom(100_000)
    for start in range(0, 80, 10):
        several = (leader.submit(put(f"w{start + n}", block)) for n in range(10))
        outcomes = await asyncio.gather(*several)
    await leader.admin.snapshot()
    assert leader.wal.first_index > 5
    return leader, away.id, outcomes[-1].index


async def test_it_is_sent_a_snapshot_and_goes_on_with_the_log(three: Replicas) -> None:
    leader, away, index = await behind(three)
    term = leader.node.term
    await three.start(away)
    replica = three.running[away]
    records, _ = await read(replica, index)
    assert len(records) == 81 and replica.compactor.index >= index
    outcome = await replica.submit(put("after"))
    assert replica.machine.state.digest() == leader.machine.state.digest()
    assert leader.node.term == term, "no election was needed"
    await three.stop(away)
    await three.start(away)
    assert len((await read(three.running[away], outcome.index))[0]) == 82


async def test_a_broken_transfer_goes_on_where_it_was(
    three: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    leader, away, index = await behind(three)
    await three.start(away)
    replica = three.running[away]
    await until(lambda: replica.transfers.receiver.written > 2 * limits.MIB, "some of it has arrived")
    assert leader.transport is not None
    leader.transport._links[away].abort()
    await until(lambda: "resuming the snapshot" in caplog.text, "it is resumed")
    assert resumed_at(caplog) > limits.MIB
    records, _ = await read(replica, index)
    assert len(records) == 81


async def test_a_transfer_that_a_change_of_leader_interrupts_is_taken_over(three: Replicas) -> None:
    """By the new leader's own snapshot, which holds the same state in other bytes."""
    leader, away, index = await behind(three)
    other = next(each for each in three.running.values() if each is not leader)
    await other.submit(put("last"))
    await other.admin.snapshot()
    assert other.wal.first_index > 5
    await three.start(away)
    replica = three.running[away]
    await until(lambda: replica.transfers.receiver.written > 2 * limits.MIB, "some of it has arrived")
    while not other.node.is_leader:
        with contextlib.suppress(StoreError):  # a busy machine may not hand over in time
            await (await three.leader()).admin.transfer(other.id)
    records, _ = await read(replica, index)
    assert len(records) == 82 and replica.compactor.index >= index
    equal = "it holds what the new leader holds"
    await until(lambda: replica.machine.state.digest() == other.machine.state.digest(), equal)


async def test_a_receiver_that_restarts_goes_on_where_it_was(
    three: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    """Also when the leader has made a newer snapshot meanwhile, and dropped log."""
    caplog.set_level("INFO")
    leader, away, index = await behind(three)
    await three.start(away)
    receiver = three.running[away].transfers.receiver
    await until(lambda: receiver.written > 3 * limits.MIB, "some of it has arrived")
    await three.stop(away)
    for number in range(20):
        outcome = await leader.submit(put(f"later{number}"))
    assert await leader.admin.snapshot() > index
    (part,) = (three.root / away / "snapshots").glob("*.part")
    had = part.stat().st_size
    with part.open("r+b") as file:
        file.truncate(had - 1)  # the last bytes never reached the platter
    await three.start(away)
    replica = three.running[away]
    records, _ = await read(replica, outcome.index)
    assert len(records) == 101 and 2 * limits.MIB < resumed_at(caplog) < had
    assert replica.machine.state.digest() == leader.machine.state.digest()
    assert not list((three.root / away / "snapshots").glob("*.part"))


def stall(leader: Replica, to: str) -> None:
    """It sends no more, as if its disk did not answer: the rest is for the next leader to send."""
    sending = leader.transfers.sender._sending[to].task
    assert sending is not None and sending.cancel()


async def test_the_next_leader_goes_on_with_the_same_snapshot(
    three: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    """Leadership is handed over in the middle, and the link to the former leader stays up."""
    caplog.set_level("INFO")
    leader, away, _ = await behind(three)
    other = next(replica for replica in three.running.values() if replica is not leader)
    await until(lambda: other.node.applied_index == leader.node.applied_index, "they stand at one index")
    assert await other.admin.snapshot() == leader.compactor.index
    assert other.wal.first_index > 5
    await three.start(away)
    replica = three.running[away]
    await until(lambda: replica.transfers.receiver.written > 2 * limits.MIB, "some of it has arrived")
    sending = leader.transfers.sender._sending[away].task
    assert sending is not None and sending.cancel(), (
        "its disk stalls, so that the rest is the other's to send"
    )
    assert leader.node.transfer_leadership(other.id) == ""
    leader.kick()
    await until(lambda: other.node.is_leader, "the other leads")
    outcome = await other.submit(put("meanwhile"))
    records, _ = await read(replica, outcome.index)
    assert len(records) == 82 and leader.connected(away)
    assert replica.machine.state.digest() == other.machine.state.digest()
    assert resumed_at(caplog) > limits.MIB
    assert not list((three.root / away / "snapshots").glob("*.part"))


async def test_the_next_leader_sends_a_snapshot_of_its_own(three: Replicas) -> None:
    """The leader dies in the middle; what came of its snapshot is of no use any more."""
    leader, away, _ = await behind(three)
    other = next(replica for replica in three.running.values() if replica is not leader)
    outcome = await other.submit(put("later"))
    await other.admin.snapshot()
    assert other.wal.first_index > 5
    await three.start(away)
    replica = three.running[away]
    await until(lambda: replica.transfers.receiver.written > 2 * limits.MIB, "some of it has arrived")
    stall(leader, away)
    await three.stop(leader.id)
    assert (await three.leader()) is other, "who lacks all of the log is not elected"
    await other.submit(put("meanwhile"), timeout_s=30.0)
    records, _ = await read(replica, outcome.index + 1)
    assert {"later", "meanwhile"} <= records.keys()
    assert replica.compactor.index >= outcome.index and len(replica.machine.state.records) == 83
    assert not list((three.root / away / "snapshots").glob("*.part"))


async def test_a_part_of_another_snapshot_is_thrown_away(
    three: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    _, away, index = await behind(three)
    parts = three.root / away / "snapshots"
    (parts / f"{index:020d}.999-00000000.part").write_bytes(b"RMSNAP")
    await three.start(away)
    records, _ = await read(three.running[away], index)
    assert len(records) == 81 and not list(parts.glob("*.part"))
    assert "receiving the snapshot" in caplog.text and "resuming" not in caplog.text


def resumed_at(caplog: pytest.LogCaptureFixture) -> int:
    line = next(r.getMessage() for r in caplog.records if "resuming the snapshot" in r.getMessage())
    return int(line.split("at byte ")[1].split()[0])


async def test_chunks_that_do_not_fit_cut_the_link(three: Replicas) -> None:
    leader, away, index = await behind(three)
    await three.start(away)
    replica = three.running[away]
    receiver = replica.transfers.receiver
    await until(lambda: receiver.written > 0, "it has begun")
    current = receiver._current
    assert current is not None
    with pytest.raises(ValueError, match="checksum mismatch"):
        receiver.chunk(leader.id, current.offer.index, current.expected, 1, b"x")
    with pytest.raises(ValueError, match="1 bytes at 0"):
        receiver.chunk(leader.id, current.offer.index, 0, 1, b"x")
    for shape in (("snapshot", -1, 5, 0), ("snapshot", 1, 5, 2**32), ("snapshot", 1, 5), ("snapshot_at", 1)):
        with pytest.raises(ValueError, match="wrong shape"):
            replica.transfers.frame(leader.id, "snapshot", shape)
    records, _ = await read(replica, index)
    assert len(records) == 81


async def test_more_than_was_asked_for_cuts_the_link(tmp_path: Path) -> None:
    """A peer must not fill the memory of a replica whose disk is slow."""
    store = await EmbeddedStore.open(StoreConfig(node_id="n1", data_dir=str(tmp_path / "data")))
    receiver = store.replica.transfers.receiver
    receiver.offered("n2", Offer(1_000_000, 1 << 40, 1))
    current = receiver._current
    assert current is not None
    await until(lambda: current.wanted, "it is asked for")
    data = bytes(limits.TRANSFER_CHUNK_BYTES)
    crc = google_crc32c.value(data)
    for _ in range((limits.TRANSFER_WINDOW_BYTES + len(data)) // len(data)):
        receiver.chunk("n2", 1_000_000, current.expected, crc, data)
    with pytest.raises(ValueError, match="of which 0 were asked for"):
        for _ in range(limits.TRANSFER_WINDOW_BYTES // len(data)):
            receiver.chunk("n2", 1_000_000, current.expected, crc, data)
    await store.close()


async def test_what_is_not_wanted_is_declined(three: Replicas) -> None:
    """A snapshot below what is applied here."""
    leader, (follower, _) = await three.leader(), await three.followers()
    await follower.submit(put("a"))
    follower.transfers.frame(leader.id, "snapshot", ("snapshot", 1, 500, 7))
    assert follower.transfers.receiver._current is None


async def test_the_log_behind_a_transfer_is_kept(three: Replicas) -> None:
    """Or who gets the snapshot would at once need the next one."""
    leader, away, index = await behind(three)
    leader.transfers.needed(away)
    assert set(leader.transfers.held().values()) == {index}
    for number in range(30):
        await leader.submit(put(f"later{number}"))
    await leader.admin.snapshot()
    assert leader.wal.first_index <= index
    assert len(list((three.root / leader.id / "snapshots").glob("*.snap"))) == 2
