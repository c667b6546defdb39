"""What is sent to many is sent in turns: in order, once, the newest, and small changes are not held up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.xds.fixtures import StaticSource, cluster, listener
from tests.xds.test_stream import Wire, settle
from xds.delta import DeltaSession
from xds.limits import SENT_AT_ONCE
from xds.pacing import Pacer
from xds.proto import msg, serialize
from xds.source import OpenDoor
from xds.stream import Stream
from xds.types import CLUSTER, LISTENER


class Turns:
    """A loop whose turns the test takes."""

    def __init__(self) -> None:
        self.next: list[Callable[[], None]] = []

    def take(self) -> None:
        now, self.next = self.next, []
        for job in now:
            job()

    def take_all(self) -> int:
        """How many there were."""
        taken = 0
        while self.next:
            self.take()
            taken += 1
        return taken


class Jobs:
    """Jobs that write down when they ran."""

    def __init__(self, pacer: Pacer, count: int) -> None:
        self.ran: list[int] = []
        self.jobs = [lambda n=n: self.ran.append(n) for n in range(count)]  # type: ignore[misc]
        self.pacer = pacer

    def submit(self, *numbers: int) -> None:
        for number in numbers:
            self.pacer.submit(self.jobs[number])


def paced(count: int) -> tuple[Turns, Jobs]:
    turns = Turns()
    return turns, Jobs(Pacer(lambda job: turns.next.append(job), at_once=2, from_queue=3), count)


def test_some_at_once_and_the_others_in_turns_in_their_order() -> None:
    turns, jobs = paced(10)
    jobs.submit(*range(10))
    assert jobs.ran == [0, 1] and len(jobs.pacer) == 8
    turns.take()
    assert jobs.ran == [0, 1, 2, 3, 4]
    turns.take_all()
    assert jobs.ran == list(range(10)) and len(jobs.pacer) == 0


def test_a_small_change_goes_ahead_of_those_who_wait_and_does_not_starve_them() -> None:
    turns, jobs = paced(20)
    jobs.submit(*range(12))
    turns.take()
    jobs.submit(18, 19)
    assert jobs.ran[-2:] == [18, 19]
    for _ in range(3):
        turns.take()
        jobs.submit(18, 19)
    assert set(jobs.ran) >= set(range(12))


def test_who_asks_again_while_he_waits_runs_once_and_keeps_his_place() -> None:
    turns, jobs = paced(5)
    jobs.submit(0, 1, 2, 3, 4, 2, 2)
    turns.take_all()
    assert jobs.ran == [0, 1, 2, 3, 4]


def test_who_asks_again_in_a_later_turn_is_served_then_and_not_again() -> None:
    turns, jobs = paced(9)
    jobs.submit(*range(9))
    turns.take()
    jobs.submit(8)
    turns.take_all()
    assert jobs.ran == [0, 1, 2, 3, 4, 8, 5, 6, 7]


def test_what_is_dropped_does_not_run() -> None:
    turns, jobs = paced(4)
    jobs.submit(*range(4))
    jobs.pacer.drop(jobs.jobs[2])
    jobs.pacer.drop(jobs.jobs[2])
    turns.take_all()
    assert jobs.ran == [0, 1, 3]


def test_a_job_that_fails_keeps_nobody_waiting() -> None:
    turns, jobs = paced(6)

    def fail() -> None:
        raise RuntimeError("broken")

    jobs.submit(0, 1)
    jobs.pacer.submit(fail)
    jobs.submit(2, 3)
    with pytest.raises(RuntimeError):
        turns.take()
    turns.take_all()
    assert jobs.ran == [0, 1, 2, 3]


def request(type_url: str, *, nonce: str = "", node: str = "") -> bytes:
    made = msg("envoy.service.discovery.v3.DeltaDiscoveryRequest")(type_url=type_url, response_nonce=nonce)
    if node:
        made.node.id = node
    return serialize(made)


def sent(wire: Wire) -> list[tuple[str, ...]]:
    """The names in each response."""
    return [tuple(each.name for each in response(data).resources) for data in wire.sent]


def response(data: bytes) -> Any:
    return msg("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(data)


async def connected(count: int) -> tuple[Turns, StaticSource, list[tuple[Stream, Wire]]]:
    """Streams that all wait for a turn; their proxies have cluster a."""
    turns, source = Turns(), StaticSource()
    source.put(cluster("a"))
    pacer = Pacer(lambda job: turns.next.append(job), at_once=0, from_queue=2)
    found = []
    for number in range(count):
        wire = Wire()
        stream = Stream(DeltaSession(), wire, source, OpenDoor(), {}, pacer=pacer)
        stream.on_message(request(CLUSTER, node=f"default.dp-{number}"))
        await settle()
        turns.take_all()
        stream.on_message(request(CLUSTER, nonce="1"))
        assert sent(wire) == [("a",)]
        wire.sent.clear()
        found.append((stream, wire))
    return turns, source, found


async def test_a_change_for_many_takes_turns_and_who_waits_gets_the_newest_alone() -> None:
    turns, source, streams = await connected(5)
    source.put(cluster("b"))
    turns.take()
    assert [sent(wire) for _, wire in streams] == [[("b",)], [("b",)], [], [], []]
    source.put(cluster("c"), cluster("b", connect_timeout=7))
    turns.take_all()
    assert [sent(wire) for _, wire in streams] == [[("b",)], [("b",)], *3 * [[("b", "c")]]]
    for stream, wire in streams[:2]:
        stream.on_message(request(CLUSTER, nonce="2"))
        assert sent(wire)[1:] == [("b", "c")]
    newest = [source.state[CLUSTER][name].version for name in ("b", "c")]
    for stream, wire in streams:
        assert [each.version for each in response(wire.sent[-1]).resources] == newest
        stream.on_close()


async def test_who_speaks_while_it_waits_is_sent_all_of_it_in_order_and_nothing_again() -> None:
    turns, source, [(stream, wire)] = await connected(1)
    source.put(cluster("b"), listener("in", 9000, "routes"))
    assert wire.sent == []
    stream.on_message(request(LISTENER))
    assert sent(wire) == [("b",)]  # make before break: the listener follows the clusters' ACK
    turns.take_all()
    stream.on_message(request(CLUSTER, nonce="2"))
    assert sent(wire) == [("b",), ("in",)]
    stream.on_close()


async def test_a_stream_that_ended_while_it_waited_is_sent_nothing() -> None:
    turns, source, [(stream, wire)] = await connected(1)
    source.put(cluster("b"))
    stream.on_close()
    turns.take_all()
    assert wire.sent == []


def test_by_default_a_change_for_a_few_is_sent_at_once() -> None:
    turns = Turns()
    jobs = Jobs(Pacer(lambda job: turns.next.append(job)), 20)
    jobs.submit(*range(20))
    assert jobs.ran == list(range(20)) and SENT_AT_ONCE > 20
