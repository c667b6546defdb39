"""A disk that is full: reads go on, somebody else leads, and writes resume when space returns.

The limit is RLIMIT_FSIZE of the running process: a log segment that may not grow fails with
EFBIG, which the log treats as it treats ENOSPC.
"""

from __future__ import annotations

import contextlib
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from raftstore.errors import Unavailable, UnknownOutcome
from raftstore.port import Status
from raftstore.types import Key, Put, Txn
from tests.process.cluster import Cluster, StoreProcess

pytestmark = pytest.mark.process


def put(name: str) -> Txn:
    return Txn((Put(Key("Thing", "default", name), b"x" * 100),))


def fill_up(node: StoreProcess, full: bool) -> None:
    assert node.process is not None
    size = max(p.stat().st_size for p in (node.data_dir / "wal").iterdir()) + 300
    hard = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)[1]
    soft = size if full else resource.RLIM_INFINITY
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (soft, hard))


async def status_of(node: StoreProcess) -> Status:
    found = await node.status()
    assert found is not None, node.log()
    return found


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path) as made:
        made.start()
        await made.leader()
        yield made


async def test_a_leader_whose_disk_is_full_hands_over_and_comes_back(cluster: Cluster) -> None:
    leader, other = await cluster.leader(), await cluster.follower()
    await other.store.submit(put("before"))
    fill_up(leader, True)
    for number in range(20):
        assert (await other.store.submit(put(f"during-{number}"), timeout_s=10.0)).applied

    async def said() -> bool:
        return (await status_of(leader)).read_only_reason != ""

    await cluster.until("the full disk is in the status", said)
    status = await status_of(leader)
    assert status.role != "leader" and "File too large" in status.read_only_reason
    assert (await leader.store.submit(put("through-it"), timeout_s=10.0)).applied, "it still forwards"
    fill_up(leader, False)

    async def resumed() -> bool:
        found, best = await status_of(leader), await status_of(other)
        return found.read_only_reason == "" and found.durable_index >= best.commit_index

    await cluster.until("it writes again", resumed)
    await other.store.submit(put("after"))
    await cluster.caught_up()


async def test_a_cluster_of_one_refuses_writes_and_serves_reads(tmp_path: Path) -> None:
    async with Cluster(tmp_path, 1) as cluster:
        cluster.start()
        node = await cluster.leader()
        await node.store.submit(put("before"))
        fill_up(node, True)
        with pytest.raises(Unavailable, match="File too large"):
            for number in range(10):
                with contextlib.suppress(UnknownOutcome):  # the one that met the end of the disk
                    await node.store.submit(put(f"during-{number}"), timeout_s=1.0)
        assert await node.store.read_index() > 0
        fill_up(node, False)

        async def writable() -> bool:
            return (await status_of(node)).read_only_reason == ""

        await cluster.until("space is noticed", writable)
        assert (await node.store.submit(put("after"))).applied
        node.kill()
        node.start()
        await cluster.leader()
        assert (await node.store.submit(put("again"))).applied
