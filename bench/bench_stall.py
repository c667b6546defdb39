"""How long Raft is kept from its work: the longest gap between two ticks of a replica.

Three real replicas hold 100,000 records of 1 KB. While writes go on, the leader and a follower make
a snapshot; a follower that was away too long is sent one and installs it; one that was away for
less is sent the log that it misses; a follower, and then the leader, are killed and start again. A
replica that ticks late is not heard: what it costs is told as a ratio of the least election timeout
that a control plane ships with, and runs with here. Above 1, each such moment would be an election;
what is wanted is less than a quarter. The verdict is also told for the shorter default of a bare store.

A machine may be busy, and a process that gets no processor does not tick either. So each gap is
told by the clock, without the time for which the process was ready and no processor was free for
it, and as the processor time of the loop alone (stall_store.py). The second is what raftmesh does
to itself; the first is what counts on a machine that has nothing else to do; the gap while nothing
but the writes goes on is there to compare.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvloop

from bench.harness import Report, scratch_directory
from bench.stall_store import Gap, Gauge
from cp.config_schema import Config
from cp.store import store_config
from raftstore.config import RaftConfig
from raftstore.errors import StoreError
from raftstore.types import Key, Put, Txn
from tests.process.cluster import Cluster, StoreProcess

RECORDS = 100_000
VALUE_BYTES = 1024
PER_TXN = 50
LOADERS = 16
WRITERS = 4
LIMIT = 0.25
SHIPPED = store_config(Config())
ELECTION_S = SHIPPED.election_timeout_min_s
BARE_ELECTION_S = RaftConfig().election_timeout_min_s


class GaugedProcess(StoreProcess):
    module = "bench.stall_store"


class GaugedCluster(Cluster):
    process_type = GaugedProcess


def run(report: Report) -> None:
    uvloop.run(_run(report))


async def _run(report: Report) -> None:
    records = RECORDS // 10 if report.quick else RECORDS
    async with contextlib.AsyncExitStack() as stack:
        root = Path(stack.enter_context(scratch_directory()))
        # Snapshots when told, and no log behind them: who was away for long is sent one.
        settings: dict[str, Any] = {
            "snapshot_entries": 10**9,
            "snapshot_bytes": 10**12,
            "keep_entries": 1,
            "election_timeout_min_s": SHIPPED.election_timeout_min_s,
            "election_timeout_max_s": SHIPPED.election_timeout_max_s,
        }
        cluster = await stack.enter_async_context(GaugedCluster(root, **settings))
        cluster.start()
        bench = Stalls(report, cluster, records)
        await bench.load()
        await bench.writes_alone()
        await bench.snapshots()
        await bench.install()
        await bench.catch_up()
        await bench.restart()
        bench.verdict()


async def load(node: StoreProcess, records: int) -> None:
    """Write every record once, many in each transaction."""
    value = os.urandom(VALUE_BYTES)
    starts = iter(range(0, records, PER_TXN))

    async def loader() -> None:
        for start in starts:
            puts = [Put(Key("Bench", "default", f"k{n}"), value) for n in range(start, start + PER_TXN)]
            await node.store.submit(Txn(tuple(puts)), timeout_s=30.0)

    await asyncio.gather(*(loader() for _ in range(LOADERS)))


class Stalls:
    """The phases, one after the other. Writes go through whoever leads during each."""

    def __init__(self, report: Report, cluster: Cluster, records: int) -> None:
        self._report = report
        self._cluster = cluster
        self._records = records
        self._gauges = {node.id: Gauge(node.data_dir) for node in cluster}
        self._worst = Gap(0.0, 0.0, 0.0)

    async def load(self) -> None:
        leader = await self._cluster.leader()
        async with self._phase("loading", leader, counted=False):
            await load(leader, self._records)
            await self._cluster.caught_up()

    async def writes_alone(self) -> None:
        async with self._phase("writes alone", await self._cluster.leader(), counted=False):
            await asyncio.sleep(2.0)

    async def snapshots(self) -> None:
        leader, follower = await self._cluster.leader(), await self._cluster.follower()
        for role, node in (("leader", leader), ("follower", follower)):
            async with self._phase(f"snapshot on the {role}", leader):
                await node.store.snapshot()

    async def install(self) -> None:
        """The follower misses more than the log keeps, and is sent all of the state."""
        follower = await self._cluster.follower()
        follower.kill()
        leader = await self._cluster.leader()
        await load(leader, max(PER_TXN, self._records // 100))
        await leader.store.snapshot()
        leader = await self._cluster.leader()
        async with self._phase("install of a snapshot", leader, follower):
            start = time.monotonic()
            follower.start()
            await self._reaches(follower, leader)
            self._report.figure("a follower that lags has caught up after", time.monotonic() - start, "s")
        if "installed the snapshot" not in follower.log():  # another leads, whose log reached further back
            self._report.note("the leader changed meanwhile, and no snapshot was installed: measure again")

    async def catch_up(self) -> None:
        """The follower misses half of the records, which the log still has, and is sent them all."""
        follower = await self._cluster.follower()
        follower.kill()
        leader = await self._cluster.leader()
        await load(leader, self._records // 2)
        async with self._phase("catching up from the log", leader, follower):
            start = time.monotonic()
            follower.start()
            await self._reaches(follower, leader)
            self._report.figure("a follower has caught up from the log after", time.monotonic() - start, "s")

    async def restart(self) -> None:
        """With as much log to replay as there is state in the snapshot beneath it."""
        await load(await self._cluster.leader(), self._records)
        for role in ("follower", "leader"):
            node = await (self._cluster.follower() if role == "follower" else self._cluster.leader())
            node.kill()
            other = await self._cluster.leader()
            async with self._phase(f"restart of a {role}", other, node):
                start = time.monotonic()
                node.start()
                await self._reaches(node, other)
                self._report.figure(f"a {role} is back after", time.monotonic() - start, "s")

    def verdict(self) -> None:
        worst = self._worst
        for seconds, whose in ((ELECTION_S, "a control plane's"), (BARE_ELECTION_S, "a bare store's")):
            told = [
                f"{name} {gap_s / seconds:.3f} ({'holds' if gap_s < LIMIT * seconds else 'DOES NOT HOLD'})"
                for name, gap_s in (
                    ("by the clock", worst.clock_s),
                    ("without waiting for a processor", worst.own_s),
                    ("computing", worst.cpu_s),
                )
            ]
            timeout = f"{whose} election timeout of {seconds:g} s"
            self._report.note(f"longest gap in units of {timeout}, below {LIMIT}: {', '.join(told)}")

    @contextlib.asynccontextmanager
    async def _phase(
        self, name: str, leader: StoreProcess, other: StoreProcess | None = None, *, counted: bool = True
    ) -> AsyncIterator[None]:
        """Writes go on during it; reports the gaps of all, and of `other` by itself."""
        stop = asyncio.Event()
        writing = [asyncio.create_task(_write(leader, number, stop)) for number in range(WRITERS)]
        await asyncio.sleep(0.2)
        term = await _term(leader)
        for gauge in self._gauges.values():
            gauge.take()
        yield
        await asyncio.sleep(0.5)
        for node_id, gauge in self._gauges.items():
            role = "leader" if node_id == leader.id else "follower"
            mark = ", the one concerned" if other is not None and node_id == other.id else ""
            gap, figure = gauge.take(), f"{name}: longest gap on {node_id} ({role}{mark})"
            if counted:
                self._worst = self._worst.max(gap)
            self._figure(figure, gap.own_s)
            self._figure(f"{figure}, computing", gap.cpu_s)
            self._figure(f"{figure}, by the clock", gap.clock_s)
        elections = await _term(leader) - term
        self._report.figure(f"{name}: elections", float(elections), "")
        stop.set()
        await asyncio.gather(*writing)

    def _figure(self, name: str, seconds: float) -> None:
        self._report.figure(name, seconds * 1e3, "ms", ELECTION_S * 1e3, "the election timeout")

    async def _reaches(self, node: StoreProcess, leader: StoreProcess) -> None:
        found = await leader.status()
        goal = found.commit_index if found else 0

        async def there() -> bool:
            status = await node.status()
            return status is not None and status.applied_index >= goal

        await self._cluster.until(f"{node.id} has caught up", there, 120.0)


async def _term(node: StoreProcess) -> int:
    return (await node.store.status()).term


async def _write(node: StoreProcess, number: int, stop: asyncio.Event) -> None:
    value = os.urandom(VALUE_BYTES)
    while not stop.is_set():
        with contextlib.suppress(StoreError):  # also a leader that changed shall be measured
            await node.store.submit(Txn((Put(Key("Bench", "writes", f"w{number}"), value),)))
        await asyncio.sleep(0.005)
