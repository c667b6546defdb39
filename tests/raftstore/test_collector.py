"""The collector leaves alone what stays. In processes of their own: it is one for all."""

from __future__ import annotations

import subprocess
import sys

TAMED = """
import asyncio, gc
from raftstore import collector
loop = asyncio.new_event_loop()
"""


def run(text: str) -> None:
    done = subprocess.run([sys.executable, "-c", TAMED + text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_tame_collector_never_looks_at_what_is_old() -> None:
    run(
        """
collector.tame(loop)
seen = []
gc.callbacks.append(lambda phase, info: seen.append(info["generation"]) if phase == "start" else None)
kept = [[n] for n in range(200_000)]
assert 0 in seen and 1 in seen and 2 not in seen, set(seen)
"""
    )


def test_what_stays_is_not_looked_at_again() -> None:
    run(
        """
collector.tame(loop)
kept = [[n] for n in range(900)]
before = gc.get_freeze_count()
collector.made(collector.SETTLE_EVERY - 1)
assert gc.get_freeze_count() < before + 900
collector.made(1)
assert gc.get_freeze_count() >= before + 900
"""
    )


def test_nothing_is_searched_while_a_step_makes_what_stays() -> None:
    run(
        """
collector.tame(loop)
seen = []
gc.callbacks.append(lambda phase, info: seen.append(info))
with collector.settling():
    kept = [[n] for n in range(50_000)]
assert not seen and gc.isenabled() and gc.get_freeze_count() >= 50_000
"""
    )


def test_other_processes_are_left_alone() -> None:
    run(
        """
before = gc.get_threshold(), gc.get_freeze_count()
collector.made(10 * collector.SETTLE_EVERY)
with collector.settling():
    assert gc.isenabled()
assert (gc.get_threshold(), gc.get_freeze_count()) == before
"""
    )
