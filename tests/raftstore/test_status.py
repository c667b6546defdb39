"""What a replica says of itself and of the others. Three replicas: test_replica.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftstore.embedded import EmbeddedStore
from raftstore.errors import Unavailable
from raftstore.port import Member
from raftstore.settings import StoreConfig
from raftstore.status import status_of, why_no_leader
from tests.raftstore.replicas import Replicas, put, until


async def test_one_alone_leads_and_has_its_quorum(tmp_path: Path) -> None:
    config = StoreConfig(node_id="n1", data_dir=str(tmp_path), listen="127.0.0.1:5683")
    store = await EmbeddedStore.open(config)
    outcome = await store.submit(put("a"))
    status = status_of(store.replica, store.replica._loop.time())
    await store.close()
    assert (status.id, status.role, status.leader, status.has_quorum) == ("n1", "leader", "n1", True)
    assert status.commit_index == status.applied_index == status.durable_index == outcome.index
    (me,) = status.members
    assert me == Member("n1", me.address, "leader", connected=True) and status.read_only_reason == ""


async def test_a_leader_that_nobody_answers_says_so(tmp_path: Path) -> None:
    """The links are up, so it is not that nobody can be reached."""
    three = Replicas(tmp_path, 3)
    await three.start()
    try:
        leader, followers = await three.leader(), await three.followers()
        late = f"the leader {leader.id} did not answer in time"
        await until(lambda: why_no_leader(followers[0]) == late, "what a follower would say")
        for follower in followers:
            follower.rejoin.silent = True
        # Or, on a machine that is slow enough, it has stepped down by then.
        with pytest.raises(Unavailable, match=f"confirmed in time that {leader.id} still leads|electing one"):
            await leader.read_index(timeout_s=0.1)
    finally:
        await three.close()


async def test_who_is_removed_learns_it_and_says_so(tmp_path: Path) -> None:
    """Rather than that the others cannot be reached."""
    three = Replicas(tmp_path, 3)
    await three.start()
    try:
        leader, (removed, other) = await three.leader(), await three.followers()
        await other.submit(put("a"))
        assert await other.admin.remove(removed.id) == ""
        left = [member.id for member in (await leader.status()).members]
        assert left == sorted([leader.id, other.id]), "gone at once, though still told of it"
        await until(lambda: removed.admin.membership.excluded, "it knows")
        status = await removed.status()
        assert status.read_only_reason.startswith(f"{removed.id} is removed from the cluster")
        assert [m.role for m in status.members if m.id == removed.id] == ["removed"]
        await until(lambda: not leader.connected(removed.id), "nobody talks to it any more")
        with pytest.raises(Unavailable, match="is removed from the cluster"):
            await removed.read_index(timeout_s=3.0)
        with pytest.raises(Unavailable, match="is removed from the cluster"):
            await removed.submit(put("b"), timeout_s=3.0)
        await leader.submit(put("c"))
    finally:
        await three.close()
