"""Committed writes: rate and latency through a leader and a follower of three real replicas.

Each replica is a process; replicas speak mutual TLS; each write is fsynced by a majority
before it is acknowledged, and the client is another process that speaks to one replica
over its socket, as a control-plane worker does. With N outstanding, N writers each wait for
their answer before the next write.

Yardsticks, measured right before each cell, as the machine may be shared: one fdatasync of
the same size, and one round trip on loopback. A single write needs at least one of each,
one after the other, so latencies are told as a ratio to their sum, and rates to syncs
per second.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from bench import etcd
from bench.harness import Report, fdatasync_s, percentile, round_trip_s, scratch_directory
from raftstore.types import Key, Put, Txn
from tests.process.cluster import Cluster, StoreProcess

SIZES = (200, 1024)
OUTSTANDING = (1, 16, 256)
KEYS = 1_000
Put1 = Callable[[int, bytes], Awaitable[object]]


def run(report: Report) -> None:
    uvloop.run(_run(report))


async def _run(report: Report) -> None:
    seconds = 0.5 if report.quick else 2.0
    async with contextlib.AsyncExitStack() as stack:
        root = Path(stack.enter_context(scratch_directory()))
        cluster = await stack.enter_async_context(Cluster(root))
        cluster.start()
        leader, follower = await cluster.leader(), await cluster.follower()
        await load(_writer(leader), 200, 16, 0.5)
        peer: etcd.Etcd | None = None
        if shutil.which("etcd") is None:
            report.note("etcd is not installed (Debian: etcd-server), so it is not raced")
        else:
            peer = await stack.enter_async_context(etcd.Etcd(root / "etcd"))
            await load(peer.put, 200, 16, 0.5)
        for size in SIZES:
            for outstanding in OUTSTANDING:
                name = f"{size} B x{outstanding}"
                rate = await cell(report, f"leader {name}", _writer(leader), size, outstanding, seconds, root)
                if peer is not None:  # at once, and again the same seconds: the machine may be shared
                    theirs = await cell(report, f"etcd {name}", peer.put, size, outstanding, seconds, root)
                    report.figure(f"leader {name} rate against etcd", rate, "1/s", theirs, "etcd's rate")
                await cell(report, f"follower {name}", _writer(follower), size, outstanding, seconds, root)
        await _reads(report, leader, follower, seconds)
        await _failover(report, cluster)


def _writer(node: StoreProcess) -> Put1:
    async def put(number: int, value: bytes) -> object:
        key = Key("Bench", "default", f"k{number % KEYS}")
        return await node.store.submit(Txn((Put(key, value),)), timeout_s=30.0)

    return put


async def load(put: Put1, size: int, outstanding: int, seconds: float) -> list[tuple[float, float]]:
    """(end, latency) in seconds of each write, written by `outstanding` closed loops."""
    value = os.urandom(size)
    end = time.perf_counter() + seconds
    found: list[tuple[float, float]] = []

    async def one(number: int) -> None:
        while (start := time.perf_counter()) < end:
            await put(number, value)
            now = time.perf_counter()
            found.append((now, now - start))
            number += outstanding

    await asyncio.gather(*(one(number) for number in range(outstanding)))
    return found


async def cell(
    report: Report,
    name: str,
    put: Put1,
    size: int,
    outstanding: int,
    seconds: float,
    root: Path,
) -> float:
    """Measure and report one combination; the rate in writes per second."""
    sync_s, trip_s = fdatasync_s(root, size, 40), round_trip_s(size, 100)
    start = time.perf_counter()
    found = await load(put, size, outstanding, seconds)
    rate = len(found) / (max(end for end, _ in found) - start)
    latencies = [latency * 1e3 for _, latency in found]
    report.figure(f"{name} yardstick, fdatasync", sync_s * 1e3, "ms")
    report.figure(f"{name} yardstick, round trip", trip_s * 1e3, "ms")
    floor_ms, floor = (sync_s + trip_s) * 1e3, f"one fdatasync and one round trip of {size} B"
    report.figure(f"{name} rate", rate, "1/s", 1 / sync_s, f"fdatasyncs of {size} B per second")
    report.figure(f"{name} p50", percentile(latencies, 0.5), "ms", floor_ms, floor)
    report.figure(f"{name} p99", percentile(latencies, 0.99), "ms", floor_ms, floor)
    return rate


async def _reads(report: Report, leader: StoreProcess, follower: StoreProcess, seconds: float) -> None:
    trip_ms = round_trip_s(100) * 1e3
    for role, node in (("leader", leader), ("follower", follower)):

        async def read(number: int, value: bytes, node: StoreProcess = node) -> object:
            return await node.store.read_index(timeout_s=30.0)

        found = await load(read, 0, 1, seconds)
        p50_ms = percentile([latency * 1e3 for _, latency in found], 0.5)
        report.figure(f"{role} linearizable read x1 p50", p50_ms, "ms", trip_ms, "a loopback round trip")


async def _failover(report: Report, cluster: Cluster) -> None:
    """kill -9 of the leader to the first acknowledged write through a survivor."""
    times = []
    for _ in range(1 if report.quick else 3):
        leader, other = await cluster.leader(), await cluster.follower()
        await cluster.caught_up()
        leader.kill()
        start = time.perf_counter()
        await _writer(other)(0, b"x")
        times.append((time.perf_counter() - start) * 1e3)
        leader.start()
    election_ms = 300.0
    report.figure(
        "failover after kill -9", statistics.median(times), "ms", election_ms, "the least election timeout"
    )
