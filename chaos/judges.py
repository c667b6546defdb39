"""The judges are judged: deliberately broken builds and servers, each of which a rig must catch.

    python -m chaos.judges                         all
    python -m chaos.judges stale-read-served-as-linearizable ...     some, by name

A build of the simulation lacks one rule (chaos/sim/broken.py) and meets the directed schedules,
and random ones where these find nothing. A server breaks one promise towards its clients
(wrong_servers.py) and meets the workload and the judgement of the rigs that run real
processes. The right ones meet all of it, and must be found right.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import multiprocessing
import os
import sys
from collections.abc import Sequence

from chaos import wrong_servers
from chaos.history import History, judge
from chaos.sim.broken import BROKEN, by_name
from chaos.sim.cluster import REAL
from chaos.sim.directed import SCENARIOS, Directed
from chaos.sim.host import Build
from chaos.sim.invariants import Violation as Broken
from chaos.sim.schedule import Schedule
from chaos.workload import Workload
from chaos.wrong_servers import RIGHT, WRONG, Wrong
from raftstore.guarantees import Violation

RANDOM_SEEDS = 6
FEW = 4  # builds for which no process is started
WRITES_ENOUGH = 250  # acknowledged, of one run against a server
DEADLINE_S = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.judges")
    parser.add_argument("names", nargs="*", help="which broken ones; all by default")
    parser.add_argument("--seeds", type=int, default=RANDOM_SEEDS, help="random schedules per build, at most")
    options = parser.parse_args(arguments)
    known = [build.name for build in BROKEN] + [wrong.name for wrong in WRONG]
    unknown = set(options.names) - set(known)
    if unknown:
        print(f"no judge {min(unknown)!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    # What the broken ones are made to do is logged at length.
    logging.disable(logging.CRITICAL)
    try:
        return _judge(set(options.names or known), options.seeds)
    finally:
        logging.disable(logging.NOTSET)


def of_build(build: Build, seeds: int = RANDOM_SEEDS) -> list[str]:
    """What is wrong with a build: of each directed schedule that fails; else of random ones."""
    found = []
    for name in SCENARIOS:
        try:
            Directed(name).run(build)
        except Broken as violation:
            found.append(f"{name}: {type(violation).__name__}: {violation}")
    for seed in range(0 if found else seeds):
        failure = Schedule(seed, build).violation()
        if failure is not None:
            found.append(f"seed {seed}: {type(failure).__name__}: {failure}")
    return found


async def of_server(wrong: Wrong) -> tuple[History, list[Violation]]:
    """What the clients of three such servers saw, and what is wrong with it."""
    async with wrong_servers.cluster(wrong) as cluster:
        workload = Workload(cluster.replicas, "judged", pause_s=0.004)
        try:
            await workload.start()
            async with asyncio.timeout(DEADLINE_S):
                while workload.acknowledged < WRITES_ENOUGH:
                    await asyncio.sleep(0.02)
            history = await workload.stop()
        finally:
            await workload.close()
        commits = await cluster.commits(history.start, history.end)
        return history, judge(history, dict.fromkeys(cluster.replicas, commits))


def _judge(names: set[str], seeds: int) -> int:
    builds = [build for build in BROKEN if build.name in names]
    if builds:
        builds.insert(0, REAL)
    found_of = dict(zip((build.name for build in builds), _of_builds(builds, seeds), strict=True))
    innocent = _innocent(found_of.pop(REAL.name, []), servers=bool(names & {wrong.name for wrong in WRONG}))
    caught = 0
    for name, found in found_of.items():
        caught += _told(name, found)
    for wrong in WRONG:
        if wrong.name in names:
            violations = asyncio.run(of_server(wrong))[1]
            told = [f"{type(each).__name__}: {each}" for each in violations]
            as_meant = wrong.breaks in {type(each).__name__ for each in violations}
            caught += _told(wrong.name, told if as_meant else [])
    print(f"judges: caught {caught} of {len(names)}")
    return int(bool(innocent) or caught < len(names))


def _of_builds(builds: list[Build], seeds: int) -> list[list[str]]:
    """of_build of each, on all cores where it is worth starting processes."""
    jobs = min(len(os.sched_getaffinity(0)), len(builds) // FEW)
    if jobs < 2:
        return [of_build(build, seeds) for build in builds]
    context = multiprocessing.get_context("forkserver")
    with context.Pool(jobs, initializer=logging.disable, initargs=(logging.CRITICAL,)) as pool:
        return pool.starmap(_of_build_named, [(build.name, seeds) for build in builds], chunksize=1)


def _of_build_named(name: str, seeds: int) -> list[str]:
    """Builds are made of classes that have no name to be found by in another process."""
    return of_build(REAL if name == REAL.name else by_name(name), seeds)


def _innocent(found: list[str], servers: bool) -> list[str]:
    """What is wrong with the right ones, which must be nothing. found: of the right build."""
    if servers:
        found += [f"{type(each).__name__}: {each}" for each in asyncio.run(of_server(RIGHT))[1]]
    for line in found:
        print(f"the right one: {line}")
    return found


def _told(name: str, found: list[str]) -> bool:
    print(f"{name}: {len(found)} findings" if found else f"{name}: NOT CAUGHT")
    if found:
        first = found[0].splitlines()[0]
        print(f"    e.g. {first[:200]}", flush=True)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
