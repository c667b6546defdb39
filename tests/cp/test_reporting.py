"""ACKs and NACKs as everybody can see them: the insight, the API and the metrics, from a real stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc.aio
import pytest

from chaos.fakeenvoy import Connection as Client
from chaos.fakeenvoy import FakeEnvoy
from cp.ca.issuer import Issued
from cp.config_schema import Config
from cp.live import LiveView
from cp.metrics import Metrics
from cp.plan import PutOp
from cp.registration import Registrar
from cp.reporting import Reporter
from cp.resources import Origin, Resources
from cp.streams import Connections
from cp.xdsmetrics import XdsMetrics
from mesh.codec import to_document
from raftstore.memory import MemoryStore
from tests.cp.test_registration import node
from tests.xds.config.worlds import MTLS
from tests.xds.fixtures import StaticSource, cluster, endpoints
from xds.server import AdsServer
from xds.source import OpenDoor
from xds.stream import Observer
from xds.types import CLUSTER

DEADLINE_S = 30.0


class Rig:
    """A store, a view, and an ADS server whose streams are reported."""

    def __init__(self, interval_s: float = 3600.0) -> None:
        self.store = MemoryStore()
        self.live = LiveView(self.store)
        self.metrics = Metrics()
        self.connections = Connections()
        self.source = StaticSource()
        self.resources = Resources(self.store, self.live, Config(), self.metrics)
        self.registrar = Registrar(
            self.store,
            self.live,
            self.resources,
            self.source,
            then=OpenDoor(),
            instance="cp",
            deregistration_delay_s=3600.0,
            connections=self.connections,
        )
        self.issued: dict[tuple[str, str], Issued] = {}
        self.reporter = Reporter(
            self.store,
            self.live,
            self.connections,
            self.registrar.whose,
            interval_s,
            lambda mesh, name: self.issued.get((mesh, name)),
        )
        observers: list[Observer] = [self.connections, XdsMetrics(self.metrics, self.connections)]
        self.server = AdsServer(self.registrar, self.registrar, observers)
        self.tasks = [asyncio.create_task(self.live.run())]
        self.channel: grpc.aio.Channel

    async def start(self) -> None:
        await self.until(lambda: self.live.ready)
        mesh = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"]}
        await self.resources.write([PutOp(mesh)], Origin())
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{await self.server.start('127.0.0.1:0')}")

    async def stop(self) -> None:
        await self.channel.close(None)
        await self.registrar.stop()
        await self.server.stop(0)
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.store.close()

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await asyncio.sleep(0.001)

    def connect(self, envoy: FakeEnvoy) -> Client:
        return Client(envoy, self.channel, {})

    def insight(self, name: str = "web") -> dict[str, Any]:
        found = self.live.view.get("DataplaneInsight", "default", name)
        return to_document(found) if found else {}

    def status(self, name: str = "web") -> dict[str, Any]:
        subscriptions = self.insight(name).get("subscriptions") or [{}]
        return dict(subscriptions[-1].get("status") or {})

    def commits(self) -> int:
        return self.live.index


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    await made.start()
    yield made
    await made.stop()


def proxy(name: str = "web", refuses: str = "") -> FakeEnvoy:
    def judge(type_url: str, wanted: str, body: bytes) -> str | None:
        return "it is bad" if refuses and wanted == refuses else None

    return FakeEnvoy(f"default.{name}", node(name).metadata, judge=judge)


async def test_counters_are_kumas(rig: Rig) -> None:
    rig.source.put(cluster("a"), endpoints("a", 80))
    client = rig.connect(proxy())
    await rig.until(lambda: rig.insight() and all(c.stream.status.acked >= 2 for c in rig.connections))
    await rig.until(lambda: len(rig.connections) == 1)
    await rig.reporter.flush()
    await rig.until(lambda: rig.status().get("total"))
    status = rig.status()
    assert status["cds"] == {"responsesSent": "1", "responsesAcknowledged": "1"}
    assert status["eds"] == {"responsesSent": "1", "responsesAcknowledged": "1"}
    assert int(status["total"]["responsesAcknowledged"]) >= 2
    assert "rejections" not in status
    assert status["lastUpdateTime"]
    await client.close()


async def test_a_refusal_names_the_resource_and_the_reason_and_goes_when_it_is_good(rig: Rig) -> None:
    rig.source.put(cluster("good"), cluster("bad"))
    judged_bad = {"bad"}
    envoy = FakeEnvoy(
        "default.web", node().metadata, judge=lambda _, name, __: "it is bad" if name in judged_bad else None
    )
    client = rig.connect(envoy)
    await rig.until(lambda: rig.connections.urgent.is_set() and rig.insight())
    await rig.reporter.flush()
    await rig.until(lambda: rig.status().get("rejections"))
    [told] = rig.status()["rejections"]
    assert (told["type"], told["name"]) == (CLUSTER, "bad")
    assert "it is bad" in told["message"]
    assert rig.status()["cds"]["responsesRejected"] == "1"
    assert (
        'xds_resources_rejected{dataplane="web",mesh="default",type_url="' + CLUSTER
        in rig.metrics.expose().decode()
    )
    judged_bad.clear()
    rig.source.put(cluster("bad", connect_timeout=9))
    await rig.until(rig.connections.urgent.is_set)
    await rig.reporter.flush()
    await rig.until(lambda: "rejections" not in rig.status())
    assert "xds_resources_rejected{" not in rig.metrics.expose().decode()
    await client.close()


async def test_what_is_refused_is_not_sent_again_until_it_changes(rig: Rig) -> None:
    rig.source.put(cluster("bad"))
    envoy = proxy(refuses="bad")
    client = rig.connect(envoy)
    await client.until(lambda one: any("bad" in names for _, names, _ in one.received))
    for number in range(3):
        rig.source.put(cluster(f"c{number}"))
        await client.until(lambda one, name=f"c{number}": name in one.resources.get(CLUSTER, {}))  # type: ignore[misc]
    assert sum("bad" in names for _, names, _ in envoy.received) == 1
    rig.source.put(cluster("bad", connect_timeout=2))
    await client.until(lambda one: sum("bad" in names for _, names, _ in one.received) == 2)
    await client.close()


async def test_the_last_status_is_written_when_the_stream_ends(rig: Rig) -> None:
    rig.source.put(cluster("a"))
    client = rig.connect(proxy())
    await rig.until(lambda: rig.insight() and any(c.stream.status.acked for c in rig.connections))
    await client.close()
    await rig.until(lambda: (rig.insight().get("subscriptions") or [{}])[-1].get("disconnectTime"))
    assert rig.status()["cds"]["responsesAcknowledged"] == "1"


async def test_many_proxies_are_one_commit_and_nothing_new_is_none(rig: Rig) -> None:
    rig.source.put(cluster("a"))
    names = [f"p{number}" for number in range(20)]
    clients = [rig.connect(proxy(name)) for name in names]
    await rig.until(lambda: all(rig.insight(name) for name in names))
    await rig.until(lambda: sum(c.stream.status.acked > 0 for c in rig.connections) == len(names))
    before = rig.commits()
    await rig.reporter.flush()
    await rig.until(lambda: all(rig.status(name).get("cds") for name in names))
    assert rig.commits() == before + 1
    await rig.reporter.flush()
    assert rig.commits() == before + 1
    for client in clients:
        await client.close()


async def test_a_refusal_does_not_wait_for_the_interval(rig: Rig) -> None:
    rig.tasks.append(asyncio.create_task(rig.reporter.run()))
    rig.source.put(cluster("bad"))
    started = time.monotonic()
    client = rig.connect(proxy(refuses="bad"))
    await rig.until(lambda: rig.status().get("rejections"))
    assert time.monotonic() - started < DEADLINE_S
    await client.close()


async def test_the_certificate_of_a_proxy_is_told_until_its_mesh_has_none(rig: Rig) -> None:
    async def mesh(**settings: Any) -> None:
        document = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"], **settings}
        await rig.resources.write([PutOp(document)], Origin())

    async def told(name: str, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What the insight says of the certificate, once it has heard of another resource."""
        rig.source.put(cluster(name))
        async with asyncio.timeout(DEADLINE_S):
            while not condition(rig.insight().get("mTLS") or {}):
                await rig.reporter.flush()
                await asyncio.sleep(0.001)
        return dict(rig.insight().get("mTLS") or {})

    await mesh(mtls=MTLS)
    client = rig.connect(proxy())
    await rig.until(lambda: rig.insight() and len(rig.connections) == 1)
    assert await told("a", lambda _: "total" in rig.status()) == {}  # none is issued yet
    rig.issued["default", "web"] = Issued("ca-1", 1_700_000_000.0, 1_700_086_400.0)
    assert await told("b", bool) == {
        "issuedBackend": "ca-1",
        "supportedBackends": ["ca-1"],
        "lastCertificateRegeneration": "2023-11-14T22:13:20Z",
        "certificateExpirationTime": "2023-11-15T22:13:20Z",
        "certificateRegenerations": 1,
    }
    rig.issued["default", "web"] = Issued("ca-1", 1_700_069_120.0, 1_700_155_520.0)
    renewed = await told("c", lambda mtls: mtls["certificateRegenerations"] > 1)
    assert renewed["certificateExpirationTime"] == "2023-11-16T17:25:20Z"
    await mesh()
    await told("d", lambda mtls: not mtls)
    await client.close()


async def test_who_is_cancelled_as_something_urgent_comes_does_not_go_on(rig: Rig) -> None:
    """A task that lost its cancellation here kept a worker from stopping."""
    reporting = asyncio.create_task(rig.reporter.run())
    await asyncio.sleep(0)
    rig.connections.urgent.set()
    reporting.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(DEADLINE_S):
            await reporting
