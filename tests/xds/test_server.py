"""The ADS server over real gRPC, with fake Envoys."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from chaos.fakeenvoy import Connection, FakeEnvoy
from tests.xds.fixtures import StaticSource, cluster, endpoints, listener, route
from xds.effects import Acked, Effect, Nacked, Send
from xds.gate import Gate
from xds.limits import ACCEPT_WAIT_MAX_S
from xds.proto import msg, serialize
from xds.server import (
    DELTA_METHOD,
    HEALTH_METHOD,
    HEALTH_SERVICE,
    OPTIONS,
    SERVICE,
    SOTW_METHOD,
    STOPPING,
    AdsServer,
)
from xds.source import NodeInfo, Refused
from xds.stream import Stream
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

Connect = Callable[..., Connection]


class Journal:
    """An observer that writes down what it sees."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.effects: list[Effect] = []

    def stream_opened(self, stream: Stream) -> None:
        assert stream.node is not None
        self.lines.append(f"opened {stream.node.id}")

    def stream_effect(self, stream: Stream, effect: Effect) -> None:
        self.effects.append(effect)

    def stream_closed(self, stream: Stream) -> None:
        assert stream.node is not None
        self.lines.append(f"closed {stream.node.id}")


class TokenDoor:
    """Admits who presents the token; takes a while, as a store would."""

    async def admit(self, node: NodeInfo, headers: Mapping[str, str]) -> None:
        await asyncio.sleep(0)
        if headers.get("authorization") != "secret":
            raise Refused("UNAUTHENTICATED", f"authentication failed: no token for {node.id}")


class BrokenDoor:
    async def admit(self, node: NodeInfo, headers: Mapping[str, str]) -> None:
        raise RuntimeError("the store is on fire")


@asynccontextmanager
async def serving(server: AdsServer) -> AsyncIterator[Connect]:
    """A started server, and a way to connect fake Envoys to it; all closed at the end."""
    port = await server.start("127.0.0.1:0")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop, 0)

        def connect(envoy: FakeEnvoy, **headers: str) -> Connection:
            channel = grpc.aio.insecure_channel(
                f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]
            )
            stack.push_async_callback(channel.close)
            return Connection(envoy, channel, headers)

        yield connect


def mesh() -> StaticSource:
    source = StaticSource()
    source.put(
        cluster("backend"),
        endpoints("backend", 8080),
        listener("in", 9000, "routes"),
        route("routes", "backend"),
    )
    return source


def has(type_url: str, *names: str) -> Callable[[FakeEnvoy], bool]:
    return lambda envoy: envoy.resources.get(type_url, {}).keys() == set(names)


def complete(envoy: FakeEnvoy) -> bool:
    return (
        has(CLUSTER, "backend")(envoy)
        and has(ENDPOINT, "backend")(envoy)
        and has(LISTENER, "in")(envoy)
        and has(ROUTE, "routes")(envoy)
    )


async def eventually(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    async with asyncio.timeout(timeout):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_proxy_receives_everything_it_refers_to() -> None:
    async with serving(AdsServer(mesh())) as connect:
        envoy = FakeEnvoy("default.dp-1", {"dataplane.proxyType": "dataplane"}, "backend")
        await connect(envoy).until(complete)


async def test_the_source_sees_the_node() -> None:
    source = mesh()
    async with serving(AdsServer(source)) as connect:
        envoy = FakeEnvoy("default.dp-1", {"dataplane.proxyType": "ingress"}, "backend")
        await connect(envoy).until(complete)
        node = source.handles[0].node
        assert (node.id, node.cluster, node.metadata) == (
            "default.dp-1",
            "backend",
            {"dataplane.proxyType": "ingress"},
        )


async def test_a_change_reaches_every_proxy() -> None:
    source = mesh()
    async with serving(AdsServer(source)) as connect:
        connections = [connect(FakeEnvoy(f"default.dp-{i}")) for i in range(5)]
        for connection in connections:
            await connection.until(complete)
        update = endpoints("backend", 8080, 8081)
        source.put(update)
        for connection in connections:
            await connection.until(lambda e: e.resources[ENDPOINT]["backend"] == update[1].body)


async def test_a_proxy_that_reconnects_is_sent_nothing() -> None:
    source = mesh()
    async with serving(AdsServer(source)) as connect:
        envoy = FakeEnvoy("default.dp-1")
        first = connect(envoy)
        await first.until(complete)
        await first.close()
        await eventually(lambda: source.handles[0].closed)
        envoy.received.clear()
        second = connect(envoy)
        await eventually(lambda: len(source.handles) == 2)
        source.put(cluster("new"), endpoints("new", 1))
        await second.until(has(CLUSTER, "backend", "new"))
        assert envoy.received[0] == (CLUSTER, ("new",), ())


async def test_a_proxy_that_reconnects_to_a_replica_without_its_configuration_keeps_it() -> None:
    source = mesh()
    async with serving(AdsServer(source)) as connect:
        envoy = FakeEnvoy("default.dp-1")
        first = connect(envoy)
        await first.until(complete)
        await first.close()
        source.known = False
        second = connect(envoy)
        await eventually(lambda: len(source.handles) == 2)
        assert complete(envoy)
        source.known = True
        source.drop(LISTENER, "in")
        await second.until(has(LISTENER))
        assert envoy.received[-1] == (LISTENER, (), ("in",))


async def test_rejections_are_observed_and_stay_with_one_proxy() -> None:
    source, journal = mesh(), Journal()
    server = AdsServer(source, observers=[journal])
    async with serving(server) as connect:
        picky = FakeEnvoy(
            "default.picky", judge=lambda t, name, _: "no such filter" if name == "bad" else None
        )
        easy = FakeEnvoy("default.easy")
        picky_connection, easy_connection = connect(picky), connect(easy)
        await picky_connection.until(complete)
        await easy_connection.until(complete)
        source.put(listener("bad", 9001, "routes"), listener("good", 9002, "routes"))
        await easy_connection.until(has(LISTENER, "in", "bad", "good"))
        await picky_connection.until(has(LISTENER, "in", "good"))
        await eventually(lambda: any(isinstance(effect, Nacked) for effect in journal.effects))
        by_id = {stream.node.id: stream for stream in server.streams() if stream.node is not None}
        assert by_id["default.picky"].status.of(LISTENER).rejections["bad"].message.endswith("no such filter")
        assert by_id["default.easy"].status.of(LISTENER).rejections == {}


async def test_observers_see_streams_come_and_go_and_what_they_do() -> None:
    journal = Journal()
    async with serving(AdsServer(mesh(), observers=[journal])) as connect:
        connection = connect(FakeEnvoy("default.dp-1"))
        await connection.until(complete)
        await eventually(lambda: sum(isinstance(effect, Acked) for effect in journal.effects) == 4)
        assert sum(isinstance(effect, Send) for effect in journal.effects) == 4
        await connection.close()
        await eventually(lambda: len(journal.lines) == 2)
        assert journal.lines == ["opened default.dp-1", "closed default.dp-1"]


async def test_admission_decides() -> None:
    source, journal = mesh(), Journal()
    async with serving(AdsServer(source, TokenDoor(), [journal])) as connect:
        await connect(FakeEnvoy("default.dp-1"), authorization="secret").until(complete)
        refused = connect(FakeEnvoy("default.dp-2"), authorization="wrong")
        code, detail = await refused.ended()
        assert (code, detail) == ("UNAUTHENTICATED", "authentication failed: no token for default.dp-2")
        assert len(source.handles) == 1
        assert journal.lines == ["opened default.dp-1"]


async def test_an_error_in_admission_ends_the_stream_without_its_details(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(AdsServer(mesh(), BrokenDoor())) as connect:
        code, detail = await connect(FakeEnvoy("default.dp-1")).ended()
        assert code == "INTERNAL"
        assert "fire" not in detail
        assert "fire" in caplog.text


async def test_stopping_tells_the_proxies() -> None:
    server = AdsServer(mesh())
    async with serving(server) as connect:
        connection = connect(FakeEnvoy("default.dp-1"))
        await connection.until(complete)
        await server.stop()
        assert (await connection.ended())[0] == "UNAVAILABLE"
        assert list(server.streams()) == []


async def test_in_a_storm_everybody_is_let_in_and_who_has_nothing_first() -> None:
    """Ten proxies come back with what they have, then two come with nothing; one is let in at a time."""
    journal = Journal()
    server = AdsServer(mesh(), observers=[journal], gate=Gate(rate=100, burst=1))
    async with serving(server) as connect:
        first = FakeEnvoy("default.first")
        await connect(first).until(lambda envoy: ROUTE in envoy.resources)
        for number in range(10):
            again = FakeEnvoy(f"default.again-{number}")
            again.resources, again.versions = copy.deepcopy(first.resources), copy.deepcopy(first.versions)
            again.subscribed = copy.deepcopy(first.subscribed)
            connect(again)
        await asyncio.sleep(0.02)  # they are on their way; those with nothing come last
        fresh = [connect(FakeEnvoy(f"default.fresh-{number}")) for number in range(2)]
        for connection in fresh:
            await connection.until(lambda envoy: ROUTE in envoy.resources)
        async with asyncio.timeout(30):
            while len(journal.lines) < 13:
                await asyncio.sleep(0.005)
        assert journal.lines.index("opened default.fresh-1") < 12
        assert len({*journal.lines}) == 13


async def test_streams_are_sent_away_one_after_the_other() -> None:
    server = AdsServer(mesh(), drain_rate=5)
    async with serving(server) as connect:
        connections = []
        for number in range(4):
            connections.append(connect(FakeEnvoy(f"default.dp-{number}")))
            await connections[-1].until(lambda envoy: ROUTE in envoy.resources)
        stopping = asyncio.create_task(server.stop(grace=4.0))
        assert await connections[0].ended() == ("UNAVAILABLE", STOPPING)
        assert len(list(server.streams())) >= 1
        for connection in connections:
            assert (await connection.ended())[0] == "UNAVAILABLE"
        await stopping


async def test_the_grace_is_kept_when_the_drain_rate_is_too_slow_for_it() -> None:
    server = AdsServer(mesh(), drain_rate=0.1)
    async with serving(server) as connect:
        connections = [connect(FakeEnvoy(f"default.dp-{number}")) for number in range(4)]
        for connection in connections:
            await connection.until(lambda envoy: ROUTE in envoy.resources)
        async with asyncio.timeout(30):  # 40 s at that rate
            await server.stop(grace=0.4)


async def test_a_request_without_a_node_ends_the_stream() -> None:
    async with serving(AdsServer(mesh())) as connect:
        assert (await connect(FakeEnvoy("")).ended())[0] == "INVALID_ARGUMENT"


async def test_a_silent_client_is_sent_away() -> None:
    async with serving(AdsServer(mesh(), first_request_timeout=0.05)) as connect:
        silent = FakeEnvoy("default.dp-1", wildcards=())
        assert (await connect(silent).ended())[0] == "DEADLINE_EXCEEDED"


async def test_grpc_waits_as_long_for_streams_to_be_accepted_as_it_is_told() -> None:
    """While the loop stands still for longer, streams come; the second waits, and is gone then."""
    name = "grpc.server_max_unrequested_time_in_server"
    assert dict(OPTIONS)[name] == ACCEPT_WAIT_MAX_S  # seconds

    async def accept(requests: AsyncIterator[bytes], context: Any) -> None:
        return None

    server = grpc.aio.server(options=tuple({**dict(OPTIONS), name: 1}.items()))
    handlers = {DELTA_METHOD: grpc.stream_stream_rpc_method_handler(accept)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    codes: list[grpc.StatusCode] = []
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for stall_s in (1.5, 3.0, 6.0, 12.0):  # on a busy machine it takes a while until they are there
            call = channel.stream_stream(f"/{SERVICE}/{DELTA_METHOD}")
            calls = [call(iter(()), timeout=60) for _ in range(3)]
            asyncio.get_running_loop().call_soon(time.sleep, stall_s)
            await asyncio.sleep(0)
            codes = [await asyncio.to_thread(each.code) for each in calls]
            if grpc.StatusCode.CANCELLED in codes:
                break
    await server.stop(None)
    assert grpc.StatusCode.CANCELLED in codes


async def test_a_large_configuration_arrives_whole() -> None:
    source = StaticSource()
    source.put(*(cluster(f"c{i}") for i in range(2000)))
    source.put(*(endpoints(f"c{i}", 80) for i in range(2000)))
    async with serving(AdsServer(source)) as connect:
        await connect(FakeEnvoy("default.dp-1")).until(lambda e: len(e.resources.get(ENDPOINT, ())) == 2000)


async def test_state_of_the_world_is_served_too() -> None:
    server = AdsServer(mesh())
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream(f"/{SERVICE}/{SOTW_METHOD}")()
            request = msg("envoy.service.discovery.v3.DiscoveryRequest")(
                type_url=CLUSTER, node={"id": "default.dp-1"}
            )
            await call.write(serialize(request))
            async with asyncio.timeout(30):
                data = await call.read()
            response = msg("envoy.service.discovery.v3.DiscoveryResponse").FromString(data)
            assert [resource.type_url for resource in response.resources] == [CLUSTER]
            call.cancel()
    finally:
        await server.stop(0)


async def test_who_asks_for_health_checks_is_kept_waiting_until_the_end() -> None:
    server = AdsServer(mesh())
    port = await server.start("127.0.0.1:0")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel, asyncio.timeout(30):
        call = channel.stream_stream(f"/{HEALTH_SERVICE}/{HEALTH_METHOD}")()
        await call.write(b"")
        reading = asyncio.ensure_future(call.read())
        assert not (await asyncio.wait([reading], timeout=0.2))[0], "nothing comes, and the stream stays"
        await server.stop(1)
        with pytest.raises(grpc.aio.AioRpcError):
            await reading
        assert (await call.code(), await call.details()) == (grpc.StatusCode.UNAVAILABLE, STOPPING)


async def test_an_address_that_is_taken_is_an_error() -> None:
    async with serving(AdsServer(mesh())):
        with pytest.raises(OSError, match="cannot listen on 256"):
            await AdsServer(mesh()).start("256.0.0.1:1")
