"""`python -m bench [NAME...]`: run the named benchmarks, or all; --list names them."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys

import bench
from bench.harness import Report

PREFIX = "bench_"


def names() -> list[str]:
    modules = (module.name for module in pkgutil.iter_modules(bench.__path__))
    return sorted(name.removeprefix(PREFIX) for name in modules if name.startswith(PREFIX))


def main() -> int:
    parser = argparse.ArgumentParser("bench", description="measure; results also in bench/results/")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names())}; none: all")
    parser.add_argument("--list", action="store_true", help="name the benchmarks and end")
    parser.add_argument("--quick", action="store_true", help="short runs: to see that it works")
    given = parser.parse_args()
    if given.list:
        print("\n".join(names()))
        return 0
    unknown = sorted(set(given.names) - set(names()))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names())}")
    for name in given.names or names():
        module = importlib.import_module(f"bench.{PREFIX}{name}")
        report = Report(name, quick=given.quick)
        module.run(report)
        report.save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
