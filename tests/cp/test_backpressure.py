"""Writes are refused at the door when those inside wait for too long, and only then."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from cp.backpressure import Backpressure
from cp.limits import WRITES_FEW, WRITES_RETRY_AFTER_S, WRITES_WAIT_S_MAX
from raftstore.errors import Overloaded


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def entered(pressure: Backpressure, writes: int) -> ExitStack:
    stack = ExitStack()
    for _ in range(writes):
        stack.enter_context(pressure.one())
    return stack


def test_many_that_are_young_are_taken() -> None:
    clock = Clock()
    pressure = Backpressure(clock)
    clock.now += WRITES_WAIT_S_MAX
    with entered(pressure, 20 * WRITES_FEW), pressure.one():
        assert len(pressure) == 20 * WRITES_FEW + 1


def test_few_may_be_old() -> None:
    clock = Clock()
    pressure = Backpressure(clock)
    with entered(pressure, WRITES_FEW - 1):
        clock.now += 10 * WRITES_WAIT_S_MAX
        with pressure.one():
            assert len(pressure) == WRITES_FEW


def test_many_and_the_oldest_waits_for_too_long() -> None:
    clock = Clock()
    pressure = Backpressure(clock)
    old = entered(pressure, 1)
    clock.now += WRITES_WAIT_S_MAX / 2
    young = entered(pressure, WRITES_FEW)
    clock.now += WRITES_WAIT_S_MAX / 2 + 0.1
    with pytest.raises(
        Overloaded, match=r"^257 writes are under way here, the oldest for 2\.6 s$"
    ) as refused:
        pressure.one().__enter__()
    assert refused.value.retry_after_s == WRITES_RETRY_AFTER_S
    assert len(pressure) == WRITES_FEW + 1, "who was refused is not counted"
    old.close()
    with pressure.one():
        assert len(pressure) == WRITES_FEW + 1, "the next oldest is young"
    young.close()


def test_one_that_fails_is_over_too() -> None:
    pressure = Backpressure(Clock())
    with pytest.raises(ValueError, match="why"), pressure.one():
        raise ValueError("why")
    assert len(pressure) == 0
