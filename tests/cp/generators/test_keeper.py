"""The generators on a log: they write where they lead, and try again when somebody was faster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from cp.config import load
from cp.generators.keeper import generate
from cp.live import LiveView
from mesh.codec import encode_value
from mesh.resource import Resource
from raftstore.errors import Unavailable
from raftstore.memory import MemoryStore
from raftstore.port import Status
from raftstore.types import Key, Outcome, Put, Txn
from tests.cp.generators.test_core import MESH, dataplane
from tests.xds.config.worlds import resource

DEADLINE_S = 20.0


class Store(MemoryStore):
    """A log that may not lead, that may refuse, and in which others are faster."""

    role = "leader"
    refusals = 0
    asked = 0
    faster: list[Txn]

    def __init__(self) -> None:
        super().__init__()
        self.faster = []

    async def status(self) -> Status:
        status = await super().status()
        self.asked += 1
        return Status(**{name: getattr(status, name) for name in Status.__slots__} | {"role": self.role})

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        if txn.actor and self.refusals:
            self.refusals -= 1
            raise Unavailable("no leader")
        if txn.actor and self.faster:
            await super().submit(self.faster.pop())
        return await super().submit(txn, timeout_s=timeout_s)


class World:
    def __init__(self) -> None:
        self.store = Store()
        self.live = LiveView(self.store)

    async def put(self, *resources: Resource) -> None:
        await self.store.submit(Txn(tuple(Put(Key(*each.key), encode_value(each)) for each in resources)))

    async def until(self, kind: str, name: str) -> Resource:
        """The resource, once it has a status."""
        async with asyncio.timeout(DEADLINE_S):
            async for _ in self.live.commits(self.live.index):
                found = self.live.view.get(kind, "default", name)
                if found is not None and found.status is not None:
                    return found
        raise AssertionError("the view ended")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    tasks = [asyncio.create_task(made.live.run())]
    assert await made.live.wait_for(0, DEADLINE_S)
    tasks.append(asyncio.create_task(generate(load(None, {}).config, made.store, made.live)))
    yield made
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_service_appears(world: World) -> None:
    await world.put(resource(MESH), resource(dataplane("web-1", 8080)))
    found = await world.until("MeshService", "web")
    assert found.status.dataplane_proxies.total == 1
    await world.put(resource(dataplane("db-1", 5432, service="db")))
    assert (await world.until("MeshService", "db")).spec.ports[0].port == 5432


async def test_only_a_leader_writes(world: World) -> None:
    world.store.role = "follower"
    await world.put(resource(MESH), resource(dataplane("web-1", 8080)))
    asked = world.store.asked
    async with asyncio.timeout(DEADLINE_S):
        while world.store.asked < asked + 2:
            await asyncio.sleep(0.05)
    assert world.live.view.get("MeshService", "default", "web") is None
    world.store.role = "leader"
    await world.until("MeshService", "web")


async def test_what_could_not_be_written_is_written_later(world: World) -> None:
    world.store.refusals = 2
    await world.put(resource(MESH), resource(dataplane("web-1", 8080)))
    await world.until("MeshService", "web")
    assert world.store.refusals == 0


async def test_who_is_overtaken_takes_what_the_other_wrote(world: World) -> None:
    own = {"type": "MeshService", "mesh": "default", "name": "web"}
    by_hand = resource(own | {"spec": {"ports": [{"port": 1, "targetPort": 1}], "selector": {}}})
    world.store.faster = [Txn((Put(Key(*by_hand.key), encode_value(by_hand)),))]
    services = [resource(dataplane(f"{name}-1", 8080, service=name)) for name in ("web", "db")]
    await world.put(resource(MESH), *services)
    assert (await world.until("MeshService", "web")).spec.ports[0].port == 1, "it is not overwritten"
    await world.until("MeshService", "db")
