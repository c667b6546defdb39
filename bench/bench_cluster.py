"""Restart, catching up, and watching, on both sides.

    restart     a follower is killed with 100,000 keys of 1 KB written, and started again
    catching up a fourth, empty member is added and started
    watch       a put to the event at one watcher, and at the last of 1,000

The first two end when a linearizable read of the last key through that member is answered: it has
then everything that was acknowledged. Watchers are a connection each, all to one member, and the
client that reads them is one process, the same for both sides. Ours are readers of the feed, which
a control plane's workers are; etcd's are Watch streams.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.driver import Driver, connect
from bench.harness import Report, percentile, scratch_directory
from bench.store_clients import RANGE
from bench.stores import sides

ENTRIES = 100_000
SIZE = 1024
WATCHERS = 1_000
RETRY_S = 0.01
PATIENCE_S = 120.0


def run(report: Report) -> None:
    uvloop.run(_run(report))


async def _run(report: Report) -> None:
    entries, watchers, writes = (2_000, 50, 5) if report.quick else (ENTRIES, WATCHERS, 30)
    found: dict[str, dict[str, tuple[float, str]]] = {}
    with scratch_directory() as directory:
        async with Driver() as driver, sides(report, Path(directory)) as racers:
            for side in racers:
                found[side.name] = await one_side(side, driver, entries, watchers, writes)
    theirs = found.get("etcd", {})
    for name, (value, unit) in found["raftmesh"].items():
        base = theirs[name][0] if name in theirs else None
        report.figure(name, value, unit, base, "etcd's")


async def one_side(
    side: Any, driver: Driver, entries: int, watchers: int, writes: int
) -> dict[str, tuple[float, str]]:
    """name: (value, unit). Watching comes first, while there is little data."""
    leader, follower = await side.leader(), await side.follower()
    found: dict[str, tuple[float, str]] = {}
    for role, watched in (("leader", leader), ("follower", follower)):
        lone = await driver.watch(side.name, watched.address, leader.address, 1, writes)
        found[f"watch at {role}: put to event, p50"] = statistics.median(last for _, last in lone), "ms"
        found[f"watch at {role}: put to event, p99"] = percentile([last for _, last in lone], 0.99), "ms"
        many = await driver.watch(side.name, watched.address, leader.address, watchers, writes)
        label = f"watch at {role}: put to the last of {watchers}, p50"
        found[label] = statistics.median(last for _, last in many), "ms"
    began = time.perf_counter()
    await driver.fill(side.name, leader.address, SIZE, entries)
    found[f"fill: {entries} keys of {SIZE} B"] = entries / (time.perf_counter() - began), "1/s"
    found[f"restart of a follower with {entries} entries"] = await restart_s(side, follower, entries), "s"
    new = await side.added()
    began = time.perf_counter()
    new.start()
    await current(side, new, entries)
    found[f"empty member to caught up with {entries} entries"] = time.perf_counter() - began, "s"
    return found


async def restart_s(side: Any, member: Any, entries: int) -> float:
    await current(side, member, entries)
    member.kill()
    began = time.perf_counter()
    member.start()
    await current(side, member, entries)
    return time.perf_counter() - began


async def current(side: Any, member: Any, entries: int) -> None:
    """Until `member` answers a linearizable read of the last key."""
    async with asyncio.timeout(PATIENCE_S):
        while not await reads(side, member, entries - 1):
            await asyncio.sleep(RETRY_S)


async def reads(side: Any, member: Any, number: int) -> bool:
    try:
        client = await connect(side.name, member.address, RANGE)
    except (OSError, ValueError):
        return False
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    client.read(number, lambda good: None if done.done() else done.set_result(good))
    try:
        async with asyncio.timeout(5.0):
            return await done
    except TimeoutError:
        return False
    finally:
        client.close()
