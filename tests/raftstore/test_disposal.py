"""A state that is let go of in steps leaves others that share it alone."""

from __future__ import annotations

import sys

from raftstore.disposal import STEP, release
from raftstore.machine import StateMachine
from tests.raftstore.test_snapshot import a_state


def test_it_is_freed_bit_by_bit() -> None:
    state = a_state(records=3 * STEP, requests=2 * STEP)
    record = next(state.scan())
    before = sys.getrefcount(record)
    steps = release(state)
    del state
    counts = [sys.getrefcount(record) for _ in steps]
    assert len(counts) > 2 * 5 and counts[-1] < before, "nothing but this test holds it"


def test_what_shares_it_stays() -> None:
    old = a_state(records=2 * STEP)
    machine = StateMachine(old)
    digest = old.digest()
    for _ in release(old):
        pass
    assert machine.state.digest() == digest and len(list(machine.state.scan())) == 2 * STEP
