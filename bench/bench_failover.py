"""From kill -9 of the leader to the next acknowledged write, 20 times, on both sides.

Through each survivor a new write is begun each 5 ms, from the moment of the kill on; the first that
is acknowledged ends it. None is waited for: a write that was forwarded to the dead leader may hang
for seconds, and a client with several addresses would not wait for it either. Then the killed
member comes back, and the next round begins when writes through every member are acknowledged
again. Both sides run with their defaults; etcd's election timeout is 1 s.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.driver import acknowledged, connect
from bench.harness import Report, scratch_directory
from bench.stores import sides

ROUNDS = 20
PROBE_S = 0.005
SETTLE_S = 30.0


def run(report: Report) -> None:
    uvloop.run(_run(report))


async def _run(report: Report) -> None:
    rounds = 2 if report.quick else ROUNDS
    with scratch_directory() as directory:
        async with sides(report, Path(directory)) as racers:
            found = {side.name: [await failover_ms(side) for _ in range(rounds)] for side in racers}
    theirs = found.get("etcd")
    for name, of in (("median", statistics.median), (f"worst of {rounds}", max)):
        base = of(theirs) if theirs else None
        report.figure(f"failover after kill -9: {name}", of(found["raftmesh"]), "ms", base, "etcd's")


async def failover_ms(side: Any) -> float:
    """One round, in milliseconds."""
    leader = await side.leader()
    survivors = [member for member in side if member is not leader]
    for member in (leader, *survivors):
        await written(side, member)
    await asyncio.sleep(random.uniform(0.1, 0.3))  # heartbeats and the kill are not to keep step
    clients = [await connect(side.name, member.address) for member in survivors]
    done = asyncio.Event()
    began = time.perf_counter()
    leader.process.kill()
    while not done.is_set():
        for client in clients:
            client.put(0, b"x", lambda good: done.set() if good else None)
        try:
            async with asyncio.timeout(PROBE_S):
                await done.wait()
        except TimeoutError:
            continue
    took_ms = (time.perf_counter() - began) * 1e3
    for client in clients:
        client.close()
    leader.kill()
    leader.start()
    return took_ms


async def written(side: Any, member: Any) -> None:
    """A write through `member`, tried until it is acknowledged."""
    async with asyncio.timeout(SETTLE_S):
        while True:
            try:
                client = await connect(side.name, member.address)
                async with asyncio.timeout(2.0):
                    await acknowledged(client, 0, b"x")
                client.close()
                return
            except (OSError, RuntimeError, TimeoutError):
                await asyncio.sleep(0.05)
