"""Replicas of one cluster in this process, over real TLS and real files, for tests of the shell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dp.ports import free_ports
from raftstore.certs import create_ca, issue
from raftstore.port import Store
from raftstore.replica import Replica
from raftstore.settings import StoreConfig
from raftstore.types import Bookmark, Commit, Event, Key, Put, SnapshotChunk, SnapshotEnd, SnapshotStart, Txn

DEADLINE_S = 60.0


def put(name: str, value: bytes = b"v", request_id: str = "") -> Txn:
    return Txn((Put(Key("Thing", "default", name), value),), request_id=request_id)


async def until(condition: Callable[[], object], what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"not within {DEADLINE_S} s: {what}")


async def read(store: Store, upto: int, after: int | None = None) -> tuple[dict[str, bytes], list[Event]]:
    """The records by name and the events that came, once the feed is at `upto`."""
    records: dict[str, bytes] = {}
    events: list[Event] = []
    async with asyncio.timeout(DEADLINE_S):
        async for item in store.feed(after):
            match item:
                case SnapshotStart():
                    records.clear()
                case SnapshotChunk(chunk):
                    records |= {record.key.name: record.value for record in chunk}
                case Commit(_, several):
                    events += several
                    for event in several:
                        records[event.key.name] = event.value or b""
            if isinstance(item, SnapshotEnd | Commit | Bookmark) and item.index >= upto:
                return records, events
    raise AssertionError("the feed ended")


class Replicas:
    """n1, n2, ...: start, stop and find the leader."""

    def __init__(self, root: Path, size: int, **settings: Any) -> None:
        self.root = root
        ids = [f"n{i + 1}" for i in range(size)]
        create_ca(root / "certs")
        for node_id in ids:
            issue(root / "certs", node_id)
        addresses = {n: f"127.0.0.1:{p}" for n, p in zip(ids, free_ports(size), strict=True)}
        self.configs = {
            node_id: StoreConfig(
                **{
                    "node_id": node_id,
                    "data_dir": str(root / node_id),
                    "listen": addresses[node_id],
                    "peers": addresses,
                    "tls_dir": str(root / "certs"),
                    **settings,
                }
            )
            for node_id in ids
        }
        self.running: dict[str, Replica] = {}

    async def start(self, *ids: str) -> None:
        for node_id in ids or self.configs:
            self.running[node_id] = await Replica.start(self.configs[node_id])

    async def stop(self, node_id: str) -> None:
        await self.running.pop(node_id).close()

    async def close(self) -> None:
        for node_id in list(self.running):
            await self.stop(node_id)

    async def leader(self) -> Replica:
        await until(lambda: self._leader() is not None, "a leader is elected")
        found = self._leader()
        assert found is not None
        return found

    async def followers(self) -> list[Replica]:
        leader = await self.leader()
        return [replica for replica in self.running.values() if replica is not leader]

    def _leader(self) -> Replica | None:
        now = asyncio.get_running_loop().time()
        found = [r for r in self.running.values() if r.node.is_leader and r.node.has_quorum(now)]
        return found[0] if found else None
