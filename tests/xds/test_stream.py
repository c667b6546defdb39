"""The shell around a session, with a transport that only remembers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from tests.xds.fixtures import StaticSource, cluster
from xds.delta import DeltaSession
from xds.proto import msg, serialize
from xds.source import NodeInfo, OpenDoor, Refused
from xds.stream import Stream
from xds.types import CLUSTER


class Wire:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.ends: list[tuple[str, str]] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def end(self, code: str, detail: str) -> None:
        self.ends.append((code, detail))


class Door:
    """Opens when told to."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def admit(self, node: NodeInfo, headers: Mapping[str, str]) -> None:
        await self.opened


def first_request(node: str = "default.dp-1") -> bytes:
    request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(type_url=CLUSTER, node={"id": node})
    return serialize(request)


def mesh() -> StaticSource:
    source = StaticSource()
    source.put(cluster("a"))
    return source


async def settle() -> None:
    """Let the tasks that are ready run; there is nothing here that takes time."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_nothing_is_sent_before_admission() -> None:
    wire, source, door = Wire(), mesh(), Door()
    stream = Stream(DeltaSession(), wire, source, door, {})
    stream.on_message(first_request())
    await settle()
    assert (wire.sent, source.handles, stream.admitted) == ([], [], False)
    door.opened.set_result(None)
    await settle()
    assert (len(wire.sent), stream.admitted) == (1, True)
    stream.on_close()


async def test_a_refusal_ends_the_stream_with_its_status() -> None:
    wire, source, door = Wire(), mesh(), Door()
    stream = Stream(DeltaSession(), wire, source, door, {})
    stream.on_message(first_request())
    await settle()
    door.opened.set_exception(Refused("PERMISSION_DENIED", "not you"))
    await settle()
    assert (wire.ends, wire.sent, source.handles) == ([("PERMISSION_DENIED", "not you")], [], [])


async def test_a_client_that_leaves_during_admission_is_not_connected() -> None:
    source, door = mesh(), Door()
    stream = Stream(DeltaSession(), Wire(), source, door, {})
    stream.on_message(first_request())
    await settle()
    stream.on_close()
    await settle()
    assert (source.handles, door.opened.cancelled()) == ([], True)


async def test_that_the_loop_was_busy_is_not_taken_for_silence() -> None:
    wire = Wire()
    stream = Stream(DeltaSession(), wire, mesh(), OpenDoor(), {}, first_request_timeout=0.05)
    asyncio.get_running_loop().call_soon(time.sleep, 0.2)  # the loop stands still; the request arrives
    await settle()  # what it takes from the socket to the stream
    stream.on_message(first_request())
    await settle()
    assert (len(wire.sent), wire.ends) == (1, [])
    stream.on_close()


async def test_closing_lets_go_of_the_source_once() -> None:
    source, wire = mesh(), Wire()
    stream = Stream(DeltaSession(), wire, source, OpenDoor(), {})
    stream.on_message(first_request())
    await settle()
    stream.on_close()
    stream.on_close()
    assert source.handles[0].closed
    source.handles[0].on_change(())
    assert len(wire.sent) == 1


async def test_a_change_is_sent_when_it_happens() -> None:
    source, wire = mesh(), Wire()
    stream = Stream(DeltaSession(), wire, source, OpenDoor(), {})
    stream.on_message(first_request())
    await settle()
    ack = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(type_url=CLUSTER, response_nonce="1")
    stream.on_message(serialize(ack))
    source.put(cluster("b"))
    assert len(wire.sent) == 2
    stream.on_close()


async def test_a_broken_protocol_ends_the_stream() -> None:
    wire = Wire()
    stream = Stream(DeltaSession(), wire, mesh(), OpenDoor(), {})
    stream.on_message(first_request(node=""))
    assert [code for code, _ in wire.ends] == ["INVALID_ARGUMENT"]
    stream.on_close()


async def test_the_clock_releases_what_waits() -> None:
    """A removal on a resumed stream waits for types that never come; the timer sends it."""
    source, wire = mesh(), Wire()
    stream = Stream(DeltaSession(), wire, source, OpenDoor(), {})
    request = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest").FromString(first_request())
    request.initial_resource_versions["old"] = "1"
    request.initial_resource_versions["a"] = source.state[CLUSTER]["a"].version
    stream.on_message(serialize(request))
    await settle()
    assert wire.sent == []
    async with asyncio.timeout(60):
        while not wire.sent:
            await asyncio.sleep(0.01)
    response = msg("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(wire.sent[0])
    assert list(response.removed_resources) == ["old"]
    stream.on_close()
