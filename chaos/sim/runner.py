"""Many seeds on all cores, told in their order; each is a world of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from chaos.sim.cluster import REAL
from chaos.sim.coverage import Coverage
from chaos.sim.host import Build
from chaos.sim.recording import Recording
from chaos.sim.schedule import Schedule
from chaos.sim.shrink import shrink

# Where scripts of failing seeds go.
FOUND = Path("run/found")
# Shrinking takes about a minute each; after so many, seeds are only named.
SHRINK_MAX = 5


@dataclass
class Tally:
    """What a number of schedules came to. cpu_s: of all processes together."""

    schedules: int = 0
    acknowledged: int = 0
    reads: int = 0
    violations: int = 0
    cpu_s: float = 0.0
    reached: Coverage = field(default_factory=Coverage)


@dataclass(frozen=True)
class Result:
    """Of one seed. failure: "" or the promise that broke, and how."""

    seed: int
    acknowledged: int
    reads: int
    failure: str
    cpu_s: float
    reached: Coverage


def summary(tally: Tally) -> str:
    """The last line of every run."""
    return (
        f"simulation: {tally.schedules} schedules, {tally.acknowledged} acknowledged writes, "
        f"{tally.violations} violations"
    )


def run_one(seed: int) -> Result:
    began = time.process_time()
    schedule = Schedule(seed)
    failure = schedule.violation()
    history = schedule.cluster.history
    told = "" if failure is None else f"{type(failure).__name__}: {failure}"
    spent = time.process_time() - began
    return Result(seed, len(history.acknowledged), history.reads, told, spent, schedule.cluster.reached)


def run_seeds(
    first: int,
    seeds: int | None,
    *,
    minutes: float | None = None,
    jobs: int = 0,
    found: Path | None = None,
) -> Tally:
    """Run `seeds` from `first` on, or as many as `minutes` allow; Ctrl-C ends it early.

    Prints each violation. found: where the scripts of failing seeds go; None: none are made.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    tally, failed = Tally(), []
    end = None if minutes is None else time.monotonic() + 60 * minutes
    if end is not None:
        print(f"seeds from {first} on, for {minutes:g} minutes", flush=True)
    try:
        for result in islice(_results(first, jobs or _cores()), seeds):
            _add(tally, result)
            if result.failure:
                failed.append(result.seed)
            if end is not None and time.monotonic() >= end:
                break
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    else:
        _shrink(failed, found)
    if tally.schedules:
        print(
            f"seeds {first} to {first + tally.schedules - 1}, {tally.reads} linearizable reads, "
            f"{tally.schedules / max(tally.cpu_s, 1e-9):.2f} schedules per second of CPU"
        )
    return tally


def _results(first: int, jobs: int) -> Iterator[Result]:
    """Endless, in the order of seeds."""
    if jobs == 1:
        yield from map(run_one, count(first))
    context = multiprocessing.get_context("forkserver")
    with context.Pool(jobs, initializer=_ignore_interrupts) as pool:
        ahead = [pool.apply_async(run_one, (seed,)) for seed in range(first, first + 4 * jobs)]
        for seed in count(first + 4 * jobs):
            result = ahead.pop(0).get()
            ahead.append(pool.apply_async(run_one, (seed,)))
            yield result


def _ignore_interrupts() -> None:
    """Ctrl-C is for the parent, which ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _interrupt(*_: object) -> None:
    """Ended from outside: let go of the other processes, as Ctrl-C does."""
    raise KeyboardInterrupt


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _add(tally: Tally, result: Result) -> None:
    tally.schedules += 1
    tally.acknowledged += result.acknowledged
    tally.reads += result.reads
    tally.cpu_s += result.cpu_s
    tally.reached.update(result.reached)
    if result.failure:
        tally.violations += 1
        print(f"seed {result.seed}: {result.failure}", flush=True)
        print(f"  replay: raftmesh-sim --seed {result.seed} --trace", flush=True)


def _shrink(seeds: list[int], found: Path | None) -> None:
    for seed in seeds[:SHRINK_MAX] if found is not None else ():
        assert found is not None
        schedule = Schedule(seed)
        schedule.violation()
        keep_shrunk(schedule.recording, REAL, f"seed {seed}", found / f"seed-{seed}.txt")


def keep_shrunk(recording: Recording, build: Build, title: str, path: Path) -> None:
    """Cut a recording that fails down to a script, and tell."""
    shrunk = shrink(recording, build)
    if shrunk is None:
        print(f"{title} does not fail again when its recording is played", flush=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(shrunk.text(title))
    print(f"{title}, shrunk in {shrunk.plays} plays to {len(shrunk.recording.lines)} lines, is {path}:")
    print(path.read_text(), end="", flush=True)
