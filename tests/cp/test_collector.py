"""A worker's collector leaves alone what stays, until there is twice as much. It is one for a whole process."""

from __future__ import annotations

import subprocess
import sys

from cp.collector import GROWTH, LEAST_BYTES, Growth

TAMED = """
import asyncio, gc
from cp import collector
loop = asyncio.new_event_loop()
seen = []
gc.callbacks.append(lambda phase, info: seen.append(info["generation"]) if phase == "start" else None)
class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        died.append(1)
died = []
"""


def run(text: str) -> None:
    done = subprocess.run([sys.executable, "-c", TAMED + text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_what_is_old_is_not_looked_at_while_the_process_does_not_grow_much() -> None:
    run(
        """
collector.LEAST_BYTES = 1 << 40
collector.tame(loop)
kept = [[n] for n in range(300_000)]
Cycle()
more = [[n] for n in range(50_000)]
assert 0 in seen and 1 in seen and 2 not in seen, set(seen)
assert died, "the young are searched"
"""
    )


def test_a_cycle_that_died_old_is_found_when_the_process_has_grown() -> None:
    run(
        """
collector.LEAST_BYTES, collector.LOOK_S = collector.resident_bytes(), 0.01
collector.tame(loop)
old = Cycle()
gc.collect(1)
del old
gc.collect(1)
assert not died and 2 not in seen
kept = b"x" * 2 * collector.LEAST_BYTES
async def until_found():
    async with asyncio.timeout(30):
        while not died:
            await asyncio.sleep(0.01)
loop.run_until_complete(until_found())
assert seen.count(2) == 1
"""
    )


def test_the_next_full_search_is_due_at_twice_the_size_after_the_last() -> None:
    size = LEAST_BYTES
    growth = Growth(lambda: size)
    assert not growth.is_large()
    size = int(GROWTH * LEAST_BYTES) + 1
    assert growth.is_large()
    size = 3 * LEAST_BYTES // 2
    growth.searched()
    size = 2 * LEAST_BYTES
    assert not growth.is_large()
    size = 3 * LEAST_BYTES + 2
    assert growth.is_large()
    size = LEAST_BYTES // 4
    growth.searched()
    size = LEAST_BYTES
    assert not growth.is_large(), "never below what any worker has"
