"""See the package's text. Exit status 1 when a promise was broken, or when many schedules never came to
a place that they are there for (coverage.py)."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from chaos.sim.broken import by_name
from chaos.sim.cluster import REAL
from chaos.sim.commands import ScriptError
from chaos.sim.coverage import ENOUGH_SCHEDULES, missing, table
from chaos.sim.host import Build
from chaos.sim.recording import Played, Recording
from chaos.sim.runner import FOUND, Tally, keep_shrunk, run_seeds, summary
from chaos.sim.schedule import Schedule
from raftstore.errors import StoreError


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        build = by_name(options.build) if options.build else REAL
        if options.build:
            logging.disable(logging.CRITICAL)  # the core complains loudly of what broken builds make it do
        if options.script:
            return _script(options.script, build, options.trace)
        if options.seed is not None:
            return _one(options.seed, build, options)
        return _many(options)
    except (ScriptError, StoreError, OSError, ValueError) as error:
        print(f"raftmesh-sim: {error}", file=sys.stderr)
        return 2
    finally:
        logging.disable(logging.NOTSET)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raftmesh-sim", description="Simulated clusters under seeded faults; every promise is checked."
    )
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many schedules to run")
    parser.add_argument("--first-seed", type=int, default=0, metavar="K", help="the first of them")
    parser.add_argument("--minutes", type=float, metavar="M", help="instead of --seeds: run for so long")
    parser.add_argument("--jobs", type=int, default=0, metavar="J", help="processes; default: one per core")
    parser.add_argument("--seed", type=int, metavar="N", help="run this one only")
    parser.add_argument("--script", type=Path, metavar="FILE", help="play a script")
    parser.add_argument("--trace", action="store_true", help="with --seed or --script: tell what happens")
    parser.add_argument("--build", metavar="NAME", help="with --seed or --script: a broken build (judges)")
    parser.add_argument("--stats", action="store_true", help="count the places that schedules come to")
    parser.add_argument("--no-shrink", action="store_true", help="do not cut failing seeds down to scripts")
    parser.add_argument(
        "--found", type=Path, default=FOUND, metavar="DIR", help="where scripts of failing seeds go"
    )
    return parser


def _script(path: Path, build: Build, trace: bool) -> int:
    lines: list[str] | None = [] if trace else None
    played = Played(Recording.parse(path.read_text()), build, lines)
    failure = played.violation()
    print_lines(lines or ())
    if failure is not None:
        print(f"{path}: {type(failure).__name__}: {failure}")
    print(summary(Tally(1, len(played.cluster.history.acknowledged), violations=int(failure is not None))))
    return int(failure is not None)


def _one(seed: int, build: Build, options: argparse.Namespace) -> int:
    schedule = Schedule(seed, build, trace=options.trace)
    failure = schedule.violation()
    print_lines(schedule.cluster.lines or ())
    if failure is not None:
        print(f"seed {seed}: {type(failure).__name__}: {failure}")
        if not options.no_shrink:
            title = f"seed {seed}" + (f" with {build.name}" if options.build else "")
            keep_shrunk(schedule.recording, build, title, options.found / f"seed-{seed}.txt")
    if options.stats:
        print_lines(table(schedule.cluster.reached))
    print(summary(Tally(1, len(schedule.cluster.history.acknowledged), violations=int(failure is not None))))
    return int(failure is not None)


def _many(options: argparse.Namespace) -> int:
    tally = run_seeds(
        options.first_seed,
        None if options.minutes else options.seeds,
        minutes=options.minutes,
        jobs=options.jobs,
        found=None if options.no_shrink else options.found,
    )
    if options.stats:
        print_lines(table(tally.reached))
    unreached = missing(tally.reached) if tally.schedules >= ENOUGH_SCHEDULES else []
    print_lines(f"never reached, so nothing is proved of it: {place}" for place in unreached)
    print(summary(tally))
    return int(tally.violations > 0 or bool(unreached))


def print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


if __name__ == "__main__":
    sys.exit(main())
