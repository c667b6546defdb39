"""The gauge of ticks: what it keeps, and what it leaves out."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bench.stall_store import Gap, Gauge, Gauged, waited_s
from raftstore.settings import StoreConfig


def test_a_gauge_keeps_the_longest_until_it_is_taken(tmp_path: Path) -> None:
    writer, reader = Gauge(tmp_path / "n1"), Gauge(tmp_path / "n1")
    writer.note(0.3, 0.1, 0.05)
    writer.note(0.2, 0.15, 0.01)
    assert reader.take() == Gap(0.3, 0.15, 0.05)
    assert reader.take() == Gap(0.0, 0.0, 0.0)


def test_waiting_for_a_processor_only_grows_while_threads_stay() -> None:
    before = waited_s()
    assert 0.0 <= before <= waited_s() or before == 0.0


async def test_a_loop_that_is_held_up_shows_as_a_gap(tmp_path: Path) -> None:
    config = StoreConfig("n1", str(tmp_path / "n1"))
    replica = await Gauged.start(config)
    gauge = Gauge(config.data_dir)
    await replica.read_index(timeout_s=10)
    gauge.take()
    end = time.thread_time() + 0.12
    while time.thread_time() < end:
        pass
    async with asyncio.timeout(30):
        while (gap := gauge.take()).clock_s < 0.1:
            await asyncio.sleep(0.01)
    assert 0.08 <= gap.cpu_s <= gap.own_s <= gap.clock_s + 0.001
    await replica.close()
