"""The judge is judged: each broken build (broken.py) must be caught, and the real one must not.

python -m chaos.sim judges                    all
python -m chaos.sim judges stale-read ...     some, by name
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from chaos.sim.broken import BROKEN, by_name
from chaos.sim.cluster import REAL
from chaos.sim.directed import SCENARIOS, Directed
from chaos.sim.host import Build
from chaos.sim.invariants import Violation
from chaos.sim.schedule import Schedule

RANDOM_SEEDS = 6


def verdicts(build: Build, seeds: int = RANDOM_SEEDS) -> list[str]:
    """What the suite finds wrong with `build`: one line per directed schedule or seed that fails."""
    found = []
    for name in SCENARIOS:
        try:
            Directed(name).run(build)
        except Violation as violation:
            found.append(f"{name}: {type(violation).__name__}: {violation}")
    for seed in range(seeds):
        try:
            Schedule(seed, build).run()
        except Violation as violation:
            found.append(f"seed {seed}: {type(violation).__name__}: {violation}")
    return found


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.sim judges")
    parser.add_argument("names", nargs="*", help="which broken builds; all by default")
    parser.add_argument("--seeds", type=int, default=RANDOM_SEEDS, help="random schedules per build")
    options = parser.parse_args(arguments)
    # The core complains loudly of what the broken builds make it do.
    logging.disable(logging.CRITICAL)
    try:
        return _judge(options.names, options.seeds)
    finally:
        logging.disable(logging.NOTSET)


def _judge(names: Sequence[str], seeds: int) -> int:
    builds = [by_name(name) for name in names] or list(BROKEN)
    innocent = verdicts(REAL, seeds)
    for line in innocent:
        print(f"the real build: {line}")
    caught = 0
    for build in builds:
        found = verdicts(build, seeds)
        caught += bool(found)
        directed = sum(not line.startswith("seed") for line in found)
        print(f"{build.name}: {directed} directed and {len(found) - directed} of {seeds} random schedules")
        print(f"    e.g. {found[0]}" if found else "    NOT CAUGHT", flush=True)
    print(f"judges: caught {caught} of {len(builds)}")
    return int(bool(innocent) or caught < len(builds))
