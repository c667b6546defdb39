"""What a replica says of itself and of the others. Three replicas: test_replica.py."""

from __future__ import annotations

from pathlib import Path

from raftstore.embedded import EmbeddedStore
from raftstore.port import Member
from raftstore.settings import StoreConfig
from raftstore.status import status_of
from tests.raftstore.replicas import put


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
