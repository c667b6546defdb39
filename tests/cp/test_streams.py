"""What a worker keeps of its open streams: the newest of each node, and of whom there is news."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from cp.streams import Connections
from tests.xds.fixtures import StaticSource
from xds.delta import DeltaSession
from xds.effects import Acked, Nacked, Send
from xds.source import NodeInfo, OpenDoor
from xds.status import Rejection
from xds.stream import Stream
from xds.types import CLUSTER

ACKED = Acked(CLUSTER, ("a",), (), 0.1)
NACKED = Nacked(CLUSTER, ("a",), "bad")


class Silent:
    """A transport that nobody is at the other end of."""

    def send(self, data: bytes) -> None:
        """Nobody reads it."""

    def end(self, code: str, detail: str) -> None:
        """Nobody hears it."""


def stream(name: str) -> Stream:
    headers: Mapping[str, str] = {}
    made = Stream(DeltaSession(), Silent(), StaticSource(), OpenDoor(), headers)
    made.session.status.node = NodeInfo(f"default.{name}")
    return made


def opened(connections: Connections, *names: str) -> list[Stream]:
    made = [stream(name) for name in names]
    for each in made:
        connections.stream_opened(each)
    return made


async def test_counts_of_one_stream() -> None:
    connections = Connections()
    (web,) = opened(connections, "web")
    connections.stream_effect(web, Send(CLUSTER, "1", ("a", "b"), ("c",), b""))
    connections.stream_effect(web, ACKED)
    (connection,) = connections
    assert (connection.responses, connection.resources_sent, connection.removed) == (1, 2, 1)
    assert connection.acknowledged_s > 0
    web.status.of(CLUSTER).sent = 2
    web.status.of(CLUSTER).last_error = "bad"
    document = connection.document()
    assert document["proxy"] == "default.web"
    assert document["types"][CLUSTER]["responsesSent"] == 2
    assert document["types"][CLUSTER]["lastError"] == "bad"


async def test_the_newest_stream_of_a_node_is_the_one_that_counts() -> None:
    connections = Connections()
    old, new = opened(connections, "web", "web")
    found = connections.of_node("default.web")
    assert found is not None and found.stream is new
    connections.stream_closed(old)
    assert connections.of_node("default.web") is found
    connections.stream_closed(new)
    assert connections.of_node("default.web") is None
    assert len(connections) == 0


async def test_news_are_taken_once_and_refusals_first() -> None:
    connections = Connections()
    first, second, third = opened(connections, "first", "second", "third")
    connections.stream_effect(first, ACKED)
    connections.stream_effect(second, ACKED)
    assert not connections.urgent.is_set()
    third.status.of(CLUSTER).rejections["a"] = Rejection("v", "bad")
    connections.stream_effect(third, NACKED)
    assert connections.urgent.is_set()
    assert connections.take_changed(2) == ["default.third", "default.first"]
    assert not connections.urgent.is_set()
    assert connections.take_changed(2) == ["default.second"]
    assert connections.take_changed(2) == []


async def test_a_refusal_that_ends_is_urgent_and_one_that_stays_is_not() -> None:
    connections = Connections()
    (web,) = opened(connections, "web")
    rejections = web.status.of(CLUSTER).rejections
    rejections["a"] = Rejection("v", "bad")
    connections.stream_effect(web, NACKED)
    connections.take_changed(1)
    connections.stream_effect(web, ACKED)
    assert not connections.urgent.is_set()
    rejections.clear()
    connections.stream_effect(web, ACKED)
    assert connections.urgent.is_set()


async def test_who_left_is_no_news_and_cannot_be_put_back() -> None:
    connections = Connections()
    web, other = opened(connections, "web", "other")
    for each in (web, other):
        connections.stream_effect(each, ACKED)
    connections.stream_closed(web)
    connections.put_back(["default.web", "default.other"])
    assert connections.take_changed(9) == ["default.other"]
    await asyncio.sleep(0)
