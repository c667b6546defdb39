"""Committed writes and linearizable reads: rate and latency, through a leader and a follower.

Three real replicas over mutual TLS, and three members of etcd, each side with its fsync on.
Both are driven by the same client, a process of its own that speaks to one member over TCP
(driver.py, store_clients.py): 1, 16 or 256 loops that each wait for their answer before they
ask again. A cell runs on one side and at once, for as long, on the other, several times in
turn, and the median of the pairs' ratios is told: the machine may be shared, and a burst of
somebody else's work then spoils one pair and not the result.

"CPU" is what the three members of a side used for one answer, together; it depends least on what
else the machine does, and on few cores it is what limits the rate.

Yardsticks, measured before each cell: one fdatasync of the same size, and one round trip on
loopback. A single write needs at least one of each, one after the other.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.driver import Driver
from bench.harness import Report, cpu_s, fdatasync_s, round_trip_s, scratch_directory
from bench.store_clients import KEYS, Address
from bench.stores import Side, sides

SIZES = (200, 1024, 10_240)
OUTSTANDING = (1, 16, 256)
ROLES = ("leader", "follower")


@dataclass(frozen=True, slots=True)
class Measured:
    """One load on one side."""

    rate: float
    p50: float
    p99: float
    cpu: float  # microseconds of all members per answer


Pair = tuple[Measured, Measured | None]
UNITS = {"rate": "1/s", "p50": "ms", "p99": "ms", "cpu": "us"}


def run(report: Report) -> None:
    uvloop.run(_run(report))


async def _run(report: Report) -> None:
    seconds, rounds = (0.3, 1) if report.quick else (1.0, 3)
    sizes = SIZES[:1] if report.quick else SIZES
    with scratch_directory() as directory:
        root = Path(directory)
        async with Driver() as driver, sides(report, root) as racers:
            for side in racers:
                await driver.load(side.name, (await side.leader()).address, "put", 200, 16, 0.5)
            for size in sizes:
                for outstanding in OUTSTANDING:
                    for role in ROLES:
                        cell = Cell(driver, racers, role, "put", size, outstanding)
                        tell(report, cell.name, await cell.rounds(rounds, seconds), floor_ms(root, size))
            for side in racers:
                await driver.fill(side.name, (await side.leader()).address, 1024, KEYS)
            for outstanding in OUTSTANDING:
                for role in ROLES:
                    cell = Cell(driver, racers, role, "read", 1024, outstanding)
                    tell(report, cell.name, await cell.rounds(rounds, seconds), round_trip_s(1024) * 1e3)


def floor_ms(root: Path, size: int) -> float:
    return (fdatasync_s(root, size, 40) + round_trip_s(size, 100)) * 1e3


class Cell:
    """One combination, on all sides."""

    def __init__(
        self, driver: Driver, racers: Sequence[Side], role: str, what: str, size: int, outstanding: int
    ) -> None:
        self.name = f"{what} {size} B x{outstanding}, {role}"
        self._driver, self._racers, self._role = driver, racers, role
        self._load = what, size, outstanding

    async def rounds(self, count: int, seconds: float) -> list[Pair]:
        """(ours, theirs) of each round."""
        pairs = []
        for _ in range(count):
            found = [await self._one(side, seconds) for side in self._racers]
            pairs.append((found[0], found[1] if len(found) > 1 else None))
        return pairs

    async def _one(self, side: Side, seconds: float) -> Measured:
        address, before = await self._address(side), _cpu_s(side)
        loaded = await self._driver.load(side.name, address, *self._load, seconds)
        cpu_us = (_cpu_s(side) - before) * 1e6 / loaded.answers
        return Measured(loaded.rate, loaded.p50_ms, loaded.p99_ms, cpu_us)

    async def _address(self, side: Side) -> Address:
        member = await (side.leader() if self._role == "leader" else side.follower())
        address: Address = member.address
        return address


def tell(report: Report, name: str, pairs: Sequence[Pair], least_ms: float) -> None:
    """Medians of the rounds. Rates: ours by etcd's; latencies likewise, so there less is better."""
    ours = [pair[0] for pair in pairs]
    theirs = [pair[1] for pair in pairs if pair[1] is not None]
    floor = "one fdatasync and one round trip" if name.startswith("put") else "one round trip"
    report.figure(f"{name}: p50", statistics.median(o.p50 for o in ours), "ms", least_ms, floor)
    for what, unit in UNITS.items():
        values = [getattr(o, what) for o in ours]
        value = statistics.median(values)
        if theirs:
            ratio = statistics.median(v / getattr(t, what) for v, t in zip(values, theirs, strict=True))
            report.figure(f"{name}: {what}", value, unit, value / ratio, "etcd's")
        elif what != "p50":
            report.figure(f"{name}: {what}", value, unit)


def _cpu_s(side: Side) -> float:
    return sum(cpu_s(member.process.pid) for member in side)
