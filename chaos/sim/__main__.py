"""See the package's text. Exit status 1 when a promise was broken."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from chaos.sim.invariants import Violation
from chaos.sim.schedule import Schedule


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["judges"]:
        from chaos.sim.judges import main as judge

        return judge(arguments[1:])
    parser = argparse.ArgumentParser(prog="python -m chaos.sim")
    parser.add_argument("--seeds", type=int, default=100, help="how many schedules to run")
    parser.add_argument("--first-seed", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell what happens")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _one(options.seed, options.trace)
    return _many(options.first_seed, options.seeds)


def _one(seed: int, trace: bool) -> int:
    schedule = Schedule(seed, trace=trace)
    failure = None
    try:
        schedule.run()
    except Violation as violation:
        failure = violation
    for line in schedule.cluster.lines or ():
        print(line)
    if failure is not None:
        print(f"seed {seed}: {type(failure).__name__}: {failure}")
    _summary(1, len(schedule.cluster.history.acknowledged), int(failure is not None))
    return int(failure is not None)


def _many(first: int, count: int) -> int:
    acknowledged = reads = violations = 0
    began = time.monotonic()
    for seed in range(first, first + count):
        schedule = Schedule(seed)
        try:
            schedule.run()
        except Violation as violation:
            violations += 1
            print(f"seed {seed}: {type(violation).__name__}: {violation}", flush=True)
            print(f"  replay: python -m chaos.sim --seed {seed} --trace", flush=True)
        acknowledged += len(schedule.cluster.history.acknowledged)
        reads += schedule.cluster.history.reads
    seconds = time.monotonic() - began
    print(f"{reads} linearizable reads checked, {seconds / max(1, count):.2f} s per schedule")
    _summary(count, acknowledged, violations)
    return int(violations > 0)


def _summary(schedules: int, acknowledged: int, violations: int) -> None:
    print(f"simulation: {schedules} schedules, {acknowledged} acknowledged writes, {violations} violations")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
