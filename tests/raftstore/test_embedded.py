"""A cluster of one in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftstore.embedded import EmbeddedStore
from raftstore.errors import DataDirInUse, Unavailable
from raftstore.settings import BadConfig, StoreConfig
from raftstore.types import Absent, Key, Txn
from tests.raftstore.replicas import put, read


def config(root: Path, **changed: object) -> StoreConfig:
    return StoreConfig(**{"node_id": "n1", "data_dir": str(root / "data"), **changed})  # type: ignore[arg-type]


async def test_it_can_be_written_to_at_once_and_keeps_everything(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    outcome = await store.submit(put("a", b"1"))
    assert await store.read_index() >= outcome.index
    await store.close()
    again = await EmbeddedStore.open(config(tmp_path))
    records, _ = await read(again, outcome.index)
    assert records == {"a": b"1"} and (await again.status()).role == "leader"
    await again.close()


async def test_the_same_request_after_a_restart_gets_the_same_answer(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    txn = Txn(put("a").writes, (Absent(Key("Thing", "default", "a")),), request_id="r1")
    first = await store.submit(txn)
    await store.replica.admin.snapshot()
    await store.close()
    again = await EmbeddedStore.open(config(tmp_path))
    assert await again.submit(txn) == first and first.applied
    await again.close()


async def test_a_directory_is_used_by_one_at_a_time(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    with pytest.raises(DataDirInUse):
        await EmbeddedStore.open(config(tmp_path))
    await store.close()


async def test_peers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cluster of one"):
        await EmbeddedStore.open(config(tmp_path, peers={"n2": "h:1"}, tls_dir="x"))


async def test_after_close_nothing_hangs(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    await store.close()
    await store.close()
    with pytest.raises(Unavailable):
        await store.submit(put("a"))
    with pytest.raises(Unavailable):
        await store.read_index()
