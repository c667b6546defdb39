"""Proxies come and go on a real store and view; the stream's source is empty but real to the seam."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import MappingProxyType
from typing import Any

import pytest

from cp.config_schema import Config
from cp.live import LiveView
from cp.metrics import Metrics
from cp.plan import PutOp
from cp.registration import Registrar
from cp.resources import Origin, Resources
from mesh.codec import to_document
from raftstore.memory import MemoryStore
from xds.source import NodeInfo, OnChange, OpenDoor, ProxyHandle, Refused
from xds.types import Snapshot

DELAY_S = 0.05
DEADLINE_S = 30.0


class EmptyHandle:
    def snapshot(self) -> Snapshot:
        return MappingProxyType({})

    def close(self) -> None:
        """Nothing was opened."""


class EmptySource:
    """A source for which every proxy should have nothing."""

    def connect(self, node: NodeInfo, on_change: OnChange) -> ProxyHandle:
        return EmptyHandle()


class Bench:
    """Two replicas' registrars over one log, each with a view of its own."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.lives = [LiveView(self.store) for _ in range(2)]
        self.registrars = [self._registrar(number, live) for number, live in enumerate(self.lives)]
        self._tasks = [asyncio.create_task(live.run()) for live in self.lives]

    def _registrar(self, number: int, live: LiveView) -> Registrar:
        return Registrar(
            self.store,
            live,
            Resources(self.store, live, Config(), Metrics()),
            EmptySource(),
            then=OpenDoor(),
            instance=f"cp-{number}",
            deregistration_delay_s=DELAY_S,
        )

    async def start(self) -> None:
        await self.until(lambda: all(live.ready for live in self.lives))
        mesh = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"]}
        written = await Resources(self.store, self.lives[0], Config(), Metrics()).write(
            [PutOp(mesh)], Origin()
        )
        await self.lives[1].wait_for(written.index, DEADLINE_S)

    async def stop(self) -> None:
        for registrar in self.registrars:
            await registrar.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0)

    def subscriptions(self, name: str = "web") -> list[dict[str, Any]]:
        insight = self.lives[1].view.get("DataplaneInsight", "default", name)
        return list(to_document(insight)["subscriptions"]) if insight else []

    def exists(self, name: str = "web") -> bool:
        return all(live.view.get("Dataplane", "default", name) is not None for live in self.lives)

    def gone(self, name: str = "web") -> bool:
        return all(live.view.get("Dataplane", "default", name) is None for live in self.lives)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    await made.start()
    yield made
    await made.stop()


def node(
    name: str = "web", *, service: str = "web", with_resource: bool = True, mesh: str = "default"
) -> NodeInfo:
    inbound = {"port": 10000, "servicePort": 9000, "tags": {"kuma.io/service": service}}
    resource = {
        "type": "Dataplane",
        "mesh": mesh,
        "name": name,
        "networking": {"address": "127.0.0.1", "inbound": [inbound]},
    }
    metadata = {"dataplane.resource": json.dumps(resource)} if with_resource else {}
    return NodeInfo(id=f"{mesh}.{name}", metadata=metadata)


async def join(registrar: Registrar, who: NodeInfo) -> ProxyHandle:
    await registrar.admit(who, {})
    return registrar.connect(who, lambda deltas: None)


async def test_a_proxy_is_registered_with_a_subscription(bench: Bench) -> None:
    await join(bench.registrars[0], node())
    await bench.until(lambda: bench.exists() and len(bench.subscriptions()) == 1)
    assert bench.subscriptions()[0]["controlPlaneInstanceId"] == "cp-0"
    assert "disconnectTime" not in bench.subscriptions()[0]


async def test_what_a_node_tells_is_recorded_but_for_its_resource_and_token(bench: Bench) -> None:
    told = {"features": ["feature-reuse-port"], "dataplane.admin.port": 9901.0}
    who = node()
    await join(
        bench.registrars[0], NodeInfo(id=who.id, metadata={**who.metadata, **told, "dataplane.token": "t"})
    )
    await bench.until(lambda: len(bench.subscriptions()) == 1)
    insight = bench.lives[1].view.get("DataplaneInsight", "default", "web")
    assert insight is not None
    assert to_document(insight)["metadata"] == told


async def test_a_node_that_tells_too_much_is_served_but_not_recorded(bench: Bench) -> None:
    who = node()
    await join(bench.registrars[0], NodeInfo(id=who.id, metadata={**who.metadata, "more": "x" * (8 << 10)}))
    await bench.until(lambda: len(bench.subscriptions()) == 1)
    insight = bench.lives[1].view.get("DataplaneInsight", "default", "web")
    assert insight is not None
    assert not to_document(insight).get("metadata")


async def test_a_proxy_that_leaves_is_taken_away(bench: Bench) -> None:
    handle = await join(bench.registrars[0], node())
    await bench.until(lambda: len(bench.subscriptions()) == 1)
    handle.close()
    await bench.until(bench.gone)
    assert bench.subscriptions() == []


async def test_a_proxy_that_moves_to_another_replica_stays(bench: Bench) -> None:
    handle = await join(bench.registrars[0], node())
    await bench.until(lambda: len(bench.subscriptions()) == 1)
    handle.close()
    await join(bench.registrars[1], node())
    await bench.until(lambda: len(bench.subscriptions()) == 2)
    # the first replica's timer runs out, and its guarded delete, if any, must have failed
    await asyncio.gather(*bench.registrars[0]._tasks, *bench.registrars[1]._tasks)
    assert bench.exists()


async def test_a_proxy_that_reconnects_here_stays(bench: Bench) -> None:
    first = await join(bench.registrars[0], node())
    second = await join(bench.registrars[0], node())
    await bench.until(lambda: len(bench.subscriptions()) >= 1)
    first.close()
    await asyncio.gather(*bench.registrars[0]._tasks)
    assert bench.exists()
    second.close()
    await bench.until(bench.gone)


async def test_a_control_plane_that_stops_takes_nobody_away(bench: Bench) -> None:
    handle = await join(bench.registrars[0], node())
    await bench.until(lambda: len(bench.subscriptions()) == 1)
    await bench.registrars[0].stop()
    handle.close()
    assert not bench.registrars[0]._tasks
    assert bench.exists()


async def test_a_proxy_of_the_api_is_not_taken_away(bench: Bench) -> None:
    await join(bench.registrars[0], node())
    await bench.until(bench.exists)
    handle = await join(bench.registrars[1], node(with_resource=False))
    await bench.until(
        lambda: bench.subscriptions() and bench.subscriptions()[-1]["controlPlaneInstanceId"] == "cp-1"
    )
    handle.close()
    await asyncio.gather(*bench.registrars[1]._tasks)
    assert bench.exists()


async def test_what_is_registered_already_is_not_written_again(bench: Bench) -> None:
    await join(bench.registrars[0], node())
    await bench.until(lambda: len(bench.subscriptions()) == 1)
    before = bench.lives[0].view.get("Dataplane", "default", "web")
    await bench.registrars[0].admit(node(), {})
    after = bench.lives[0].view.get("Dataplane", "default", "web")
    assert before is not None and after is not None
    assert after.version == before.version


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (NodeInfo(id="nodots"), "<mesh>.<name>"),
        (NodeInfo(id=".zoneproxy"), "<mesh>.<name>"),
        (NodeInfo(id="default.web", metadata={"dataplane.resource": "{"}), "not JSON"),
        (NodeInfo(id="default.web", metadata={"dataplane.resource": "[]"}), "JSON object"),
        (NodeInfo(id="default.web", metadata={"dataplane.resource": 7}), "JSON of at most"),
        (NodeInfo(id="default.other", metadata=node().metadata), "name"),
        (node(mesh="nowhere"), "nowhere"),
    ],
)
async def test_a_bad_node_is_refused_with_the_reason(bench: Bench, who: NodeInfo, said: str) -> None:
    with pytest.raises(Refused) as refused:
        await bench.registrars[0].admit(who, {})
    assert refused.value.code == "INVALID_ARGUMENT"
    assert said in refused.value.detail
