"""A follower that the log does not reach any more, over real TLS; also when the link breaks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from raftstore import limits
from raftstore.replica import Replica
from raftstore.snapshot_transfer import Transfers
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
    await until(lambda: received(replica.transfers) > 2 * limits.MIB, "some of it has arrived")
    assert replica.transport is not None and leader.transport is not None
    leader.transport._links[away].abort()
    await until(lambda: "resuming the snapshot" in caplog.text, "it is resumed")
    line = next(r.getMessage() for r in caplog.records if "resuming the snapshot" in r.getMessage())
    assert int(line.split("at byte ")[1].split()[0]) > limits.MIB
    records, _ = await read(replica, index)
    assert len(records) == 81


def received(transfers: Transfers) -> int:
    return transfers._receiving.reader.offset if transfers._receiving else 0


async def test_chunks_that_do_not_fit_cut_the_link(three: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    leader, away, index = await behind(three)
    await three.start(away)
    replica = three.running[away]
    await until(lambda: received(replica.transfers) > 0, "it has begun")
    current = replica.transfers._receiving
    assert current is not None
    with pytest.raises(ValueError, match="checksum mismatch"):
        replica.transfers._chunk(leader.id, current.index, current.expected, 1, b"x")
    with pytest.raises(ValueError, match="1 bytes at 0"):
        replica.transfers._chunk(leader.id, current.index, 0, 1, b"x")
    with pytest.raises(ValueError, match="wrong shape"):
        replica.transfers.frame(leader.id, "snapshot", ("snapshot", -1, 5))
    records, _ = await read(replica, index)
    assert len(records) == 81


async def test_what_is_not_wanted_is_declined(three: Replicas) -> None:
    """A snapshot below what is applied here."""
    leader, (follower, _) = await three.leader(), await three.followers()
    await follower.submit(put("a"))
    follower.transfers.frame(leader.id, "snapshot", ("snapshot", 1, 500))
    assert follower.transfers._receiving is None
