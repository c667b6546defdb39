"""Writes through a replica that has not heard yet what was written through another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from cp.config import load
from cp.worker import Worker
from raftstore.errors import Unavailable
from raftstore.memory import MemoryStore
from raftstore.types import FeedItem
from tests.cp.conftest import ENVIRON, Api, ApiFactory
from tests.cp.test_api_crud import T1, TIMEOUT
from tests.cp.test_api_preconditions import timeout


class Behind(MemoryStore):
    """Another replica of the same log. What is new there comes only after it has asked the leader."""

    def __init__(self, leader: MemoryStore) -> None:
        super().__init__()
        self.machine, self.events = leader.machine, leader.events
        self.news = asyncio.Event()
        self.news.set()

    async def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        async for item in super().feed(after):
            await self.news.wait()
            yield item

    async def read_index(self, *, timeout_s: float = 5.0) -> int:
        index = await super().read_index(timeout_s=timeout_s)
        self.news.set()
        return index


@pytest.fixture
async def replicas(make_api: ApiFactory) -> tuple[Api, Api, Behind]:
    """One that is up to date, one that is not, and the store of the latter. Both know the mesh."""
    first = await make_api()
    await first.mesh()
    store = Behind(first.store)
    other = await make_api(store)
    assert (await other.get("/meshes/default")).status == 200
    store.news.clear()
    return first, other, store


async def test_a_mesh_that_was_made_elsewhere_is_there(replicas: tuple[Api, Api, Behind]) -> None:
    first, other, _ = replicas
    await first.mesh("new")
    assert (await other.put("/meshes/new/meshtimeouts/t1", TIMEOUT | {"mesh": "new"})).status == 201


async def test_what_was_written_elsewhere_can_be_deleted(replicas: tuple[Api, Api, Behind]) -> None:
    first, other, _ = replicas
    await first.put(T1, TIMEOUT)
    assert (await other.delete(T1)).status == 200


async def test_the_newest_version_is_matched(replicas: tuple[Api, Api, Behind]) -> None:
    first, other, _ = replicas
    etag = (await first.put(T1, TIMEOUT)).headers["ETag"]
    assert (await other.put(T1, timeout("1s"), headers={"If-Match": etag})).status == 200


async def test_what_was_deleted_elsewhere_is_absent(replicas: tuple[Api, Api, Behind]) -> None:
    first, other, store = replicas
    store.news.set()
    created = await first.put(T1, TIMEOUT)
    await other.get(T1, headers={"X-Raftmesh-Min-Index": str(created.index)})
    store.news.clear()
    await first.delete(T1)
    assert (await other.put(T1, TIMEOUT, headers={"If-None-Match": "*"})).status == 201


async def test_a_refusal_tells_what_is_there_now(replicas: tuple[Api, Api, Behind]) -> None:
    first, other, _ = replicas
    old = (await first.put(T1, TIMEOUT)).headers["ETag"]
    new = (await first.put(T1, timeout("1s"))).headers["ETag"]
    refused = await other.put(T1, timeout("2s"), headers={"If-Match": old})
    assert (refused.status, refused.headers["ETag"]) == (412, new)
    assert refused.json["current"]["spec"] == timeout("1s")["spec"]
    assert refused.json["detail"] == f"MeshTimeout default/t1 is at version {new[1:-1]}"


async def test_of_a_repeated_write_too(replicas: tuple[Api, Api, Behind]) -> None:
    """Its expectations are guards in the log; what they met is read after they failed."""
    first, other, store = replicas
    old = (await first.put(T1, TIMEOUT)).headers["ETag"]
    new = (await first.put(T1, timeout("1s"))).headers["ETag"]
    store.news.set()
    headers = {"If-Match": old, "X-Raftmesh-Request-Id": "r-1"}
    refused = await other.put(T1, timeout("2s"), headers=headers)
    assert (refused.status, refused.headers["ETag"]) == (412, new)


async def test_a_refusal_stands_when_nobody_can_be_asked(replicas: tuple[Api, Api, Behind]) -> None:
    _, other, store = replicas
    store.refuse = Unavailable("no quorum")
    assert (await other.delete(T1)).status == 404


async def test_the_current_secret_keeps_what_it_holds(api: Api) -> None:
    await api.mesh()
    secret = {"type": "Secret", "mesh": "default", "name": "s", "data": "aGVsbG8="}
    await api.put("/meshes/default/secrets/s", secret)
    refused = await api.put("/meshes/default/secrets/s", secret, headers={"If-None-Match": "*"})
    assert refused.status == 412
    assert "aGVsbG8=" not in refused.text


async def test_a_replica_that_has_nothing_yet_says_so() -> None:
    """It shall join, or has lost its log: an empty list would be a lie, and proxies would drop what they have."""
    store = MemoryStore()
    store.refuse = Unavailable("not a member yet")
    worker = Worker(load(None, ENVIRON).config, store, generate=False)
    starting = asyncio.create_task(worker.start())
    async with asyncio.timeout(60.0):
        while "diagnostics.serverPort" not in worker.ports:
            await asyncio.sleep(0.01)
    async with aiohttp.ClientSession() as session:
        api = Api(worker, store, session, f"http://127.0.0.1:{worker.ports['apiServer.http.port']}")
        for path in ("/ready", "/meshes", "/history", "/global-insights", "/meshes?watch=true"):
            assert (await api.get(path)).status == 503, path
        refused = await api.put(T1, TIMEOUT)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert (await api.get("/cluster")).status == 200
        assert "dpServer.port" not in worker.ports and not starting.done()
        store.refuse = None
        await asyncio.wait_for(starting, 60.0)
        assert (await api.get("/ready")).status == 200
        assert (await api.get("/meshes")).json["items"] == []
        assert "dpServer.port" in worker.ports
    await worker.stop()
    await store.close()
