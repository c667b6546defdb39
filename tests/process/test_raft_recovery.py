"""A replica whose log is lost or corrupt is rebuilt from its peers, as a new member would be."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftstore.errors import Unavailable
from raftstore.store_process import Exit
from raftstore.types import Key, Put, Txn
from tests.process.cluster import Cluster, corrupt

pytestmark = pytest.mark.process


def put(name: str) -> Txn:
    return Txn((Put(Key("Thing", "default", name), b"x" * 100),))


async def voters_are_three(cluster: Cluster) -> bool:
    status = await (await cluster.leader()).status()
    return status is not None and [m.id for m in status.members if m.role != "observer"] == ["n1", "n2", "n3"]


async def test_a_corrupt_replica_is_rebuilt_and_votes_again(tmp_path: Path) -> None:
    async with Cluster(tmp_path) as cluster:
        cluster.start()
        broken = await cluster.follower()
        store = (await cluster.leader()).store
        for number in range(50):
            await store.submit(put(f"w{number}"))
        await cluster.caught_up()
        broken.kill()
        (segment,) = (broken.data_dir / "wal").glob("*.wal")
        corrupt(segment, segment.stat().st_size // 2)
        broken.start()
        assert broken.wait() == Exit.CORRUPT
        broken.start(recover_from_peers=True)

        async def votes() -> bool:
            return "is a voter again" in broken.log(1000)

        await cluster.until("it is readmitted", votes)
        await cluster.caught_up()
        assert await voters_are_three(cluster)
        assert (broken.data_dir / "set-aside-1" / "wal" / segment.name).exists(), "the old log is kept"
        # It counts: with another replica gone, it makes the quorum.
        broken.kill()
        broken.start()
        await cluster.caught_up()
        next(node for node in cluster if node is not broken).kill()
        await cluster.leader()
        assert (await cluster.written(broken, put("after"))).applied


async def test_with_one_peer_only_it_stays_silent(tmp_path: Path) -> None:
    """The peer that is left may lack what the lost disk had acknowledged."""
    async with Cluster(tmp_path) as cluster:
        cluster.start()
        leader, lost = await cluster.leader(), await cluster.follower()
        await leader.store.submit(put("acknowledged"))
        await cluster.caught_up()
        for node in (leader, lost):
            node.kill()
        lost.start(recover_from_peers=True)
        left = next(node for node in cluster.running() if node is not lost)
        with pytest.raises(Unavailable):
            await left.store.submit(put("too-early"), timeout_s=2.0)
        leader.start()
        assert (await cluster.written(left, put("later"))).applied

        async def votes() -> bool:
            return "is a voter again" in lost.log(1000)

        await cluster.until("it is readmitted", votes)
        await cluster.caught_up()
