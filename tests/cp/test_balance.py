"""Spreading streams over replicas: who counts what, how much is too much, and how gently it goes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from chaos.fakeenvoy import Connection as Client
from chaos.fakeenvoy import FakeEnvoy
from cp.balance import (
    REASON,
    SENT_AWAY_S,
    SURPLUS_MIN,
    Balancer,
    Shedding,
    own_prefix,
    serves,
    streams_by_instance,
    surplus,
)
from cp.config_schema import Streams
from cp.streams import Connections
from mesh.codec import decode
from mesh.view import View
from raftstore.errors import Unavailable
from raftstore.memory import MemoryStore
from raftstore.port import Member, Status
from tests.cp.conftest import Api, ApiFactory
from tests.cp.test_registration import node
from tests.xds.fixtures import StaticSource, cluster
from tests.xds.test_server import serving
from xds.server import AdsServer

SETTLE_S = Streams().balance_settle


def insight(name: str, instance: str, *, gone: bool = False, kind: str = "DataplaneInsight") -> Any:
    subscription = {"id": name, "controlPlaneInstanceId": instance, "connectTime": "2026-01-01T00:00:00Z"}
    if gone:
        subscription["disconnectTime"] = "2026-01-01T00:00:01Z"
    mesh = {"mesh": "default"} if kind == "DataplaneInsight" else {}
    older = {"id": "old", "controlPlaneInstanceId": "h-cp-9-1", "connectTime": "2025-01-01T00:00:00Z"}
    return decode({"type": kind, "name": name, "subscriptions": [older, subscription], **mesh})


def test_only_the_newest_open_stream_of_a_proxy_counts() -> None:
    view = View.of(
        [
            insight("a", "h-cp-1-10"),
            insight("b", "h-cp-1-10"),
            insight("c", "h-cp-2-20"),
            insight("d", "h-cp-2-20", gone=True),
            insight("egress", "h-cp-2-20", kind="ZoneEgressInsight"),
        ]
    )
    assert streams_by_instance(view) == {"h-cp-1-10": 2, "h-cp-2-20": 2}


@pytest.mark.parametrize(
    ("mine", "siblings", "elsewhere", "replicas", "expected"),
    [
        (100, 0, 0, 1, 0),  # there is nobody else
        (0, 0, 100, 2, 0),
        (100, 0, 100, 2, 0),
        (110, 0, 100, 2, 0),  # within the tolerance
        (1500, 0, 1500, 3, 300),  # one of three came back empty: to 1.2 times the mean of 1000
        (1800, 0, 1200, 3, 600),
        (750, 750, 1500, 3, 150),  # two processes shed half each
        (5, 0, 0, 2, 0),  # too little to matter
        (20, 0, 0, 2, 8),
    ],
)
def test_how_many_are_too_many(
    mine: int, siblings: int, elsewhere: int, replicas: int, expected: int
) -> None:
    assert surplus(mine, siblings, elsewhere, replicas, 0.2) == expected
    assert expected == 0 or expected >= SURPLUS_MIN


def test_a_surplus_is_shed_slowly_and_only_after_the_replicas_settled() -> None:
    shedding = Shedding(Streams(balance_per_second=2, balance_interval=1.0))
    nodes = [f"default.{number}" for number in range(10)]
    assert shedding.choose(["cp-1", "cp-2"], 10, nodes, 0.0) == []
    assert shedding.choose(["cp-1", "cp-2"], 10, nodes, SETTLE_S - 1) == []
    assert shedding.choose(["cp-2", "cp-1"], 10, nodes, SETTLE_S) == nodes[:2]
    assert shedding.choose(["cp-1"], 10, nodes, SETTLE_S + 1) == []  # one is gone: wait again
    assert shedding.choose(["cp-1"], 1, nodes, 2 * SETTLE_S + 1) == nodes[2:3]


def test_who_came_back_is_left_alone() -> None:
    shedding = Shedding(Streams(balance_per_second=5, balance_interval=1.0))
    nodes = ["default.a", "default.b"]
    shedding.choose(["cp-1"], 0, nodes, 0.0)
    assert shedding.choose(["cp-1"], 9, nodes, SETTLE_S) == nodes
    assert shedding.choose(["cp-1"], 9, nodes, SETTLE_S + 60) == []
    assert shedding.choose(["cp-1"], 9, nodes, SETTLE_S + SENT_AWAY_S + 1) == nodes


def test_names_of_processes() -> None:
    assert own_prefix("host-a-cp-1-77", "cp-1") == "host-a-cp-1-"
    assert own_prefix("given", "cp-1") == "given"


def test_who_serves() -> None:
    member = Member("cp-2", "", "follower", connected=True)
    assert serves(member)
    assert serves(replace(member, role="observer"))
    assert not serves(replace(member, connected=False))
    assert not serves(replace(member, wanted="removed"))


class ThreeReplicas(MemoryStore):
    """A store that is one of three replicas, as far as anybody asks."""

    reachable = True

    async def status(self) -> Status:
        if not self.reachable:
            raise Unavailable("the store restarts")
        others = (Member("cp-2", "", "follower", True), Member("cp-3", "", "follower", True))
        status = await super().status()
        return replace(status, members=(*status.members, *others))


async def test_streams_are_ended_with_a_reason_until_the_surplus_is_gone() -> None:
    source, connections, store = StaticSource(), Connections(), ThreeReplicas()
    source.put(cluster("a"))
    settings = Streams(balance_per_second=1000, balance_interval=0.005)
    balancer = Balancer(store, connections, settings, "h-cp-1-1", "cp-1", alone=True)
    async with serving(AdsServer(source, observers=[connections])) as connect:
        clients = [connect(FakeEnvoy(f"default.p{number}")) for number in range(40)]
        async with asyncio.timeout(60):
            while sum(each.stream.status.acked == each.responses > 0 for each in connections) < 40:
                await asyncio.sleep(0.001)
        others = [insight(f"q{number}", f"h-cp-{2 + number % 2}-1") for number in range(10)]
        view = View.of(others)
        assert await balancer.look(view, 0.0) == []
        sent: list[str] = []
        for number in range(6):
            sent += await balancer.look(view, SETTLE_S + number)
            moved = [insight(each.partition(".")[2], "h-cp-2-1") for each in sent]
            view = View.of([*others, *moved])
        # 50 streams of three replicas, a mean of 17: down to 20, in four looks of five.
        assert len(sent) == len(set(sent)) == balancer.sent_away == 20
        assert len(connections) == 20
        ended = [each for each in clients if each.envoy.node_id in sent]
        assert {await each.ended() for each in ended} == {("UNAVAILABLE", REASON)}
        store.reachable = False
        assert await balancer.look(view, 1e6) == []


async def test_proxies_of_a_replica_that_has_them_all_spread_over_three(
    make_api: ApiFactory, tmp_path: Path
) -> None:
    """Three workers over one log, each with a dp-server; proxies go to the next address when they are sent away."""
    store = ThreeReplicas()
    environ = {
        "RAFTMESH_GENERAL_WORK_DIR": str(tmp_path),
        "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_TYPE": "none",
        "RAFTMESH_DP_SERVER_GRACEFUL_SHUTDOWN_TIMEOUT": "0s",
        "RAFTMESH_XDS_SERVER_STREAMS_BALANCE_INTERVAL": "50ms",
        "RAFTMESH_XDS_SERVER_STREAMS_BALANCE_SETTLE": "0s",
        "RAFTMESH_XDS_SERVER_STREAMS_BALANCE_PER_SECOND": "200",
    }
    apis = [await make_api(store, RAFTMESH_RAFT_NODE_ID=f"cp-{n}", **environ) for n in (1, 2, 3)]
    await apis[0].mesh()
    channels = [_channel(api, tmp_path) for api in apis]
    proxies = [asyncio.create_task(_roam(f"p{number}", channels)) for number in range(30)]
    counts: list[int] = []
    async with asyncio.timeout(60):
        while sum(counts) < len(proxies) or max(counts) >= 12 + SURPLUS_MIN:
            counts = [len(api.worker.connections) for api in apis]
            await asyncio.sleep(0.02)
    for proxy in proxies:
        proxy.cancel()
    await asyncio.gather(*proxies, return_exceptions=True)
    for channel in channels:
        await channel.close(None)
    assert min(counts) > 0


def _channel(api: Api, directory: Path) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials((directory / "tls" / "server.pem").read_bytes())
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", "localhost")]
    return grpc.aio.secure_channel(f"127.0.0.1:{api.worker.ports['dpServer.port']}", credentials, options)


async def _roam(name: str, channels: Sequence[grpc.aio.Channel]) -> None:
    """A proxy that begins at the first address, and goes on to the next when its stream ends."""
    envoy = FakeEnvoy(f"default.{name}", node(name).metadata)
    for channel in itertools.cycle(channels):
        connection = Client(envoy, channel, {})
        try:
            await connection.ended(timeout=60)
        finally:
            await connection.close()
