"""A replica in one process ends when its store does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cp.config import load
from cp.replica import serve
from cp.worker import Worker
from dp.ports import free_ports
from raftstore.embedded import EmbeddedStore
from raftstore.errors import DiskFailed
from raftstore.settings import StoreConfig

WAIT_S = 20.0


async def test_a_store_that_fails_ends_the_replica_with_its_error(tmp_path: Path) -> None:
    api, xds, diagnostics = free_ports(3)
    environ = {
        "RAFTMESH_RAFT_DATA_DIR": str(tmp_path),
        "RAFTMESH_GENERAL_WORK_DIR": str(tmp_path),
        "RAFTMESH_API_SERVER_HTTP_PORT": str(api),
        "RAFTMESH_API_SERVER_HTTPS_ENABLED": "false",
        "RAFTMESH_DP_SERVER_PORT": str(xds),
        "RAFTMESH_DIAGNOSTICS_SERVER_PORT": str(diagnostics),
    }
    config = load(None, environ).config
    store = await EmbeddedStore.open(StoreConfig("n1", str(tmp_path / "data")))
    serving = asyncio.create_task(serve(asyncio.Event(), store, Worker(config, store)))
    await asyncio.sleep(0)
    store.replica.fail(DiskFailed("writing log segment 1: Input/output error"))
    with pytest.raises(DiskFailed, match="Input/output error"):
        await asyncio.wait_for(serving, WAIT_S)
    await store.close()
