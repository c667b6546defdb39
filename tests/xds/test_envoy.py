"""Real Envoys against the server: what the playbooks assume of Envoy holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dp.ports import free_port
from tests.xds.fixtures import StaticSource, cluster, endpoints, listener, route
from tests.xds.real_envoy import Envoy, bootstrap, running, until, upstream
from xds.effects import Acked, Effect, Nacked, Send
from xds.proto import msg
from xds.server import AdsServer
from xds.stream import Stream
from xds.types import CLUSTER, LISTENER, Encoded

pytestmark = [pytest.mark.envoy, pytest.mark.process]

# Envoy withholds cluster ACKs for 15 s when endpoints do not follow; it takes milliseconds when
# they do. In between lies any machine's noise.
PROMPT_S = 10.0


@dataclass
class Journal:
    effects: list[Effect] = field(default_factory=list)
    opened: int = 0

    def stream_opened(self, stream: Stream) -> None:
        self.opened += 1

    def stream_effect(self, stream: Stream, effect: Effect) -> None:
        self.effects.append(effect)

    def stream_closed(self, stream: Stream) -> None:
        return

    def acks(self, type_url: str) -> list[Acked]:
        return [e for e in self.effects if isinstance(e, Acked) and e.type_url == type_url]


@dataclass
class Rig:
    source: StaticSource
    journal: Journal
    server: AdsServer
    envoy: Envoy
    ads_port: int
    port: int
    a: int
    b: int

    async def answers(self, text: str, port: int | None = None) -> None:
        async def check() -> bool:
            return (await self.envoy.get(port or self.port))[1] == text

        await until(check, f"the listener answers {text}")

    async def acked(self, type_url: str, count: int) -> None:
        async def check() -> bool:
            return len(self.journal.acks(type_url)) >= count

        await until(check, f"{count} ACKs of {type_url}", PROMPT_S)


@asynccontextmanager
async def rig(directory: Path, api_type: str = "DELTA_GRPC") -> AsyncIterator[Rig]:
    """An Envoy that serves `backend`, at first upstream A, on one listener."""
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(upstream(tag)) for tag in "AB"]
        port = free_port()
        source, journal = StaticSource(), Journal()
        source.put(
            cluster("backend"),
            endpoints("backend", ports[0]),
            listener("in", port, "r"),
            route("r", "backend"),
        )
        server = AdsServer(source, observers=[journal])
        ads_port = await server.start("127.0.0.1:0")
        stack.push_async_callback(server.stop, 0)
        config = bootstrap(ads_port, free_port(), "default.dp-1", api_type)
        envoy = await stack.enter_async_context(running(directory, config))
        the_rig = Rig(source, journal, server, envoy, ads_port, port, ports[0], ports[1])
        await the_rig.answers("A")
        yield the_rig


async def test_a_snapshot_is_served_and_acknowledged_and_changes_arrive(tmp_path: Path) -> None:
    async with rig(tmp_path) as mesh:
        mesh.source.put(endpoints("backend", mesh.b))
        await mesh.answers("B")
        await mesh.acked(CLUSTER, 1)
        assert not [e for e in mesh.journal.effects if isinstance(e, Nacked)]
        mesh.source.put(cluster("other"), endpoints("other", mesh.a), route("r", "other"))
        await mesh.answers("A")


async def test_after_a_restart_of_the_control_plane_nothing_is_sent_again(tmp_path: Path) -> None:
    async with rig(tmp_path) as mesh:
        await mesh.acked(LISTENER, 1)
        await mesh.server.stop(0)
        journal = Journal()
        server = AdsServer(mesh.source, observers=[journal])
        await server.start(f"127.0.0.1:{mesh.ads_port}")
        try:

            async def back() -> bool:
                return journal.opened == 1

            await until(back, "Envoy reconnects")
            mesh.source.put(endpoints("backend", mesh.b))
            await mesh.answers("B")
            sent = [e for e in journal.effects if isinstance(e, Send)]
            assert [e.names for e in sent] == [("backend",)]
        finally:
            await server.stop(0)


async def test_a_changed_cluster_is_acknowledged_at_once_because_its_endpoints_follow(tmp_path: Path) -> None:
    async with rig(tmp_path) as mesh:
        await mesh.acked(CLUSTER, 1)
        mesh.source.put(cluster("backend", connect_timeout=2))
        await mesh.acked(CLUSTER, 2)
        assert mesh.journal.acks(CLUSTER)[1].elapsed < PROMPT_S
        await mesh.answers("A")


async def test_a_cluster_changed_while_envoy_was_away_is_acknowledged_at_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as mesh:
        await mesh.acked(LISTENER, 1)
        await mesh.server.stop(0)
        mesh.source.put(cluster("backend", connect_timeout=3))
        journal = mesh.journal
        journal.effects.clear()
        server = AdsServer(mesh.source, observers=[journal])
        await server.start(f"127.0.0.1:{mesh.ads_port}")
        try:

            async def acked() -> bool:
                return bool(journal.acks(CLUSTER))

            await until(acked, "the changed cluster is acknowledged")
            assert journal.acks(CLUSTER)[0].elapsed < PROMPT_S
        finally:
            await server.stop(0)


def unknown_filter(name: str, port: int) -> tuple[str, Encoded]:
    """A listener with a filter that Envoy does not have."""
    config = msg("google.protobuf.Any")(type_url="type.googleapis.com/does.not.Exist", value=b"")
    return listener(name, port, "r", [{"name": "no-such-filter", "typed_config": config}])


async def test_a_rejected_listener_leaves_the_others_alone(tmp_path: Path) -> None:
    async with rig(tmp_path) as mesh:
        await mesh.acked(LISTENER, 1)
        good = free_port()
        mesh.source.put(unknown_filter("bad", free_port()), listener("good", good, "r"))
        await mesh.answers("A", good)

        async def rejected() -> bool:
            return any(isinstance(e, Nacked) and e.names == ("bad",) for e in mesh.journal.effects)

        await until(rejected, "the rejection names the bad listener")
        await mesh.acked(LISTENER, 2)
        (stream,) = mesh.server.streams()
        assert "bad" in stream.status.of(LISTENER).rejections
        assert stream.session.versions(LISTENER).keys() == {"in", "good"}
        mesh.source.put(listener("bad", free_port(), "r"))
        await mesh.acked(LISTENER, 3)
        assert stream.status.of(LISTENER).rejections == {}


async def test_an_emptied_service_stops_serving_and_comes_back(tmp_path: Path) -> None:
    async with rig(tmp_path) as mesh:
        mesh.source.put(endpoints("backend"))

        async def unavailable() -> bool:
            return (await mesh.envoy.get(mesh.port))[0] == 503

        await until(unavailable, "503 without endpoints")
        mesh.source.put(endpoints("backend", mesh.b))
        await mesh.answers("B")


async def test_no_request_fails_while_clusters_are_replaced(tmp_path: Path) -> None:
    """Make before break, seen from the traffic."""
    async with rig(tmp_path) as mesh:
        statuses: set[int] = set()
        done = asyncio.Event()

        async def traffic() -> None:
            while not done.is_set():
                statuses.add((await mesh.envoy.get(mesh.port))[0])

        load = asyncio.create_task(traffic())
        for generation in range(5):
            name, before = f"backend-{generation}", f"backend-{generation - 1}" if generation else "backend"
            port = mesh.a if generation % 2 else mesh.b
            changes = [cluster(name), endpoints(name, port), route("r", name)]
            for type_url, resource in changes:
                mesh.source.state[type_url][resource.name] = resource
            del mesh.source.state[CLUSTER][before]
            mesh.source.announce_all(changes, [(CLUSTER, before)])
            await mesh.answers("A" if generation % 2 else "B")
        done.set()
        await load
        assert statuses == {200}


async def test_state_of_the_world_serves_a_real_envoy(tmp_path: Path) -> None:
    async with rig(tmp_path, "GRPC") as mesh:
        await mesh.acked(CLUSTER, 1)
        mesh.source.put(cluster("backend", connect_timeout=2))
        await mesh.acked(CLUSTER, 2)
        mesh.source.put(endpoints("backend", mesh.b))
        await mesh.answers("B")
