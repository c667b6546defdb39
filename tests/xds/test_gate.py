"""How fast streams are let in: the bucket by a clock of the test's own, the gate by the order it keeps."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from xds.gate import Bucket, Gate
from xds.limits import LET_IN_AT_ONCE

FAST = 2_000.0  # tokens a second: a test waits half a millisecond for each


def test_a_burst_then_the_rate() -> None:
    bucket = Bucket(rate=10, burst=3)
    assert [bucket.take(0.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait(0.0) == 0.1
    assert not bucket.take(0.05)
    assert bucket.take(0.1)
    assert not bucket.take(0.1)


def test_what_is_not_used_is_kept_up_to_the_burst() -> None:
    bucket = Bucket(rate=10, burst=2)
    assert bucket.take(0.0)
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]


def test_no_rate_is_no_limit() -> None:
    bucket = Bucket(rate=0, burst=1)
    assert all(bucket.take(0.0) for _ in range(1000))
    assert bucket.wait(0.0) == 0


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 5), st.integers(1, 50))
def test_never_more_than_burst_and_rate_allow(times: list[float], burst: int, rate: int) -> None:
    bucket = Bucket(rate, burst)
    taken = [at for at in sorted(times) if bucket.take(at)]
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= burst + (taken[last] - taken[first]) * rate + 1e-6


class Arrivals:
    """Streams that come to a gate, and the order in which they are let in.

    The gate's time stands still until `all`, so that the order does not depend on who is quick.
    """

    def __init__(self, rate: float) -> None:
        self.gate = Gate(rate, burst=1, clock=lambda: time.monotonic() if self.moving else 0.0)
        self.moving = False
        self.entered: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, *, resumed: bool) -> None:
        async def enter() -> None:
            await self.gate.enter(resumed)
            self.entered.append(name)

        self.tasks[name] = asyncio.create_task(enter())
        await asyncio.sleep(0)

    async def all(self) -> list[str]:
        self.moving = True
        async with asyncio.timeout(60):
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)
        return self.entered


async def test_who_has_nothing_goes_first_and_the_others_in_order() -> None:
    arrivals = Arrivals(FAST)
    await arrivals.come("first", resumed=True)
    for name in ("a", "b"):
        await arrivals.come(name, resumed=True)
    for name in ("x", "y"):
        await arrivals.come(name, resumed=False)
    assert arrivals.entered == ["first"]
    assert len(arrivals.gate) == 4
    assert await arrivals.all() == ["first", "x", "y", "a", "b"]
    assert len(arrivals.gate) == 0


async def test_who_leaves_the_queue_holds_up_nobody() -> None:
    arrivals = Arrivals(FAST)
    for name in ("first", "gone", "last"):
        await arrivals.come(name, resumed=True)
    arrivals.tasks["gone"].cancel()
    assert await arrivals.all() == ["first", "last"]


async def test_a_gate_without_a_rate_lets_everybody_in_at_once() -> None:
    arrivals = Arrivals(0.0)
    for number in range(100):
        await arrivals.come(str(number), resumed=bool(number % 2))
    assert len(arrivals.entered) == 100


async def test_a_loop_that_fell_behind_lets_in_a_few_in_each_turn() -> None:
    now = 0.0
    gate, entered = Gate(rate=1000.0, burst=100, clock=lambda: now), []

    async def enter(number: int) -> None:
        await gate.enter(resumed=False)
        entered.append(number)

    for _ in range(100):
        await gate.enter(resumed=True)
    tasks = [asyncio.create_task(enter(number)) for number in range(50)]
    await asyncio.sleep(0)
    assert len(gate) == 50
    now = 100.0  # a burst of tokens
    steps, before = [], 0
    async with asyncio.timeout(60):
        while len(entered) < 50:
            await asyncio.sleep(0)
            steps.append(len(entered) - before)
            before = len(entered)
    await asyncio.gather(*tasks)
    assert max(steps) == LET_IN_AT_ONCE
    assert entered == list(range(50))
