"""Real replicas in network namespaces, under faults and a workload; then the judgement.

    python -m chaos.processes [--fault NAME ...] [--replicas 5] [--seconds S]     as root

Exit status: 0 when every promise held, 1 when one was broken, 2 when this machine lacks
something that the rig needs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chaos.faults import FAULTS
from chaos.namespaces import Network
from chaos.preload import COMPILER, UNSYNCED, WALL_CLOCK, build
from chaos.replicas import Replicas
from chaos.shell import CommandFailed, missing
from chaos.trial import Fault, Report, summary, trial

NEEDED = {
    "ip": "iproute2",
    "iptables": "iptables",
    "mkfs.ext4": "e2fsprogs",
    "mount": "mount",
    "fsfreeze": "util-linux",
    "nsenter": "util-linux",
}
RUN_S = 1800.0


def lacking() -> list[str]:
    """What this machine lacks, one line each."""
    found = [] if os.geteuid() == 0 else ["root: run it with sudo (namespaces, iptables, loop devices)"]
    return found + [f"{name}: install the package {NEEDED[name]}" for name in missing(list(NEEDED))]


async def run(faults: Sequence[Fault], seconds: float, size: int, broken: str = "") -> list[Report]:
    """One trial per fault on a cluster of `size`; a new cluster after a trial that went wrong.

    broken: a library that makes replicas break their promises, to judge the rig by.
    """
    reports: list[Report] = []
    async with Network(size) as network:
        waiting = [fault for fault in faults if await possible(fault, network)]
        while waiting:
            root = Path(tempfile.mkdtemp(prefix="rmx-"))
            try:
                preload = library_for(waiting[0]) or broken
                library = await build(preload, root) if preload else None
                async with Replicas(root, network, library) as rig:
                    while waiting and (library_for(waiting[0]) or broken) == preload:
                        report = await trial(rig, waiting.pop(0), seconds, f"t{len(reports)}")
                        reports.append(report)
                        show(report)
                        if report.violations:
                            keep_logs(root, report)
                            break
            finally:
                shutil.rmtree(root, ignore_errors=True)
                await network.heal()
    return reports


def library_for(fault: Fault) -> str:
    return WALL_CLOCK if fault.needs == COMPILER else ""


async def possible(fault: Fault, network: Network) -> bool:
    """Whether this machine can; says so when it cannot."""
    if fault.needs == COMPILER:
        lacks = "a C compiler: install the package gcc" if missing([COMPILER]) else ""
    elif fault.needs:
        known = not missing(["tc"]) and await network.can_shape(fault.needs)
        lacks = "" if known else f"the kernel's {fault.needs} (and tc, of the package iproute2)"
    else:
        lacks = ""
    if lacks:
        print(f"{fault.name:24} LEFT OUT: it needs {lacks}", flush=True)
    return not lacks


def show(report: Report) -> None:
    print(report.line(), flush=True)
    for violation in report.violations:
        print(f"  {type(violation).__name__}: {str(violation)[:4000]}", flush=True)


def keep_logs(root: Path, report: Report) -> None:
    kept = Path(tempfile.gettempdir()) / f"chaos-{report.fault.name}-{os.getpid()}"
    kept.mkdir(exist_ok=True)
    for log in root.glob("*.log"):
        shutil.copy(log, kept)
    print(f"  the replicas' logs are in {kept}", flush=True)


async def until_signal(faults: Sequence[Fault], seconds: float, size: int, broken: str) -> list[Report]:
    """`run`, ended in good order by SIGINT and SIGTERM too: what it made is removed."""
    task = asyncio.ensure_future(run(faults, seconds, size, broken))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with asyncio.timeout(RUN_S):
        return await task


def main() -> int:
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(prog="python -m chaos.processes")
    parser.add_argument("--fault", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each fault lasts")
    parser.add_argument("--replicas", type=int, choices=(3, 5), default=3)
    parser.add_argument(
        "--unsynced", action="store_true", help="judge the rig: replicas whose log is not synced"
    )
    options = parser.parse_args()
    if lacks := lacking():
        for line in lacks:
            print(f"cannot run here, {line}", file=sys.stderr)
        return 2
    chosen = [fault for fault in FAULTS if fault.name in (options.fault or names)]
    try:
        broken = UNSYNCED if options.unsynced else ""
        reports = asyncio.run(until_signal(chosen, options.seconds, options.replicas, broken))
    except CommandFailed as error:
        print(f"cannot run here, {error}", file=sys.stderr)
        return 2
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130
    print(summary("processes", reports))
    return int(any(report.violations for report in reports))


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
