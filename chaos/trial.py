"""One fault under the workload: what was asked, what was answered, what was broken.

The same for every rig: replicas are reached by their HTTP API alone, and their logs are
read when all is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from chaos.history import History, Stalled, judge
from chaos.linearizability import TooComplex
from chaos.shell import CommandFailed
from chaos.workload import Workload
from raftstore.guarantees import CutOff, Violation
from raftstore.types import Commit

WARM_UP_S = 1.0
TRIAL_S = 600.0  # all of one fault, e.g. five restarts in turn on a busy machine; longer: the rig hangs
PROGRESS = 20  # writes that must succeed while, or after
PROGRESS_S = 60.0  # a busy machine is slow, and still goes on
POLL_S = 0.1


class Rig(Protocol):
    """A running cluster with handles for faults."""

    @property
    def replicas(self) -> Mapping[str, str]:
        """Name -> base URL of the API."""
        ...

    async def settled(self) -> None:
        """Return when every replica serves and one leads. Raises Stalled."""
        ...

    async def logs(self, after: int, upto: int) -> dict[str, list[Commit]]:
        """The commits of that range, of each replica that still has them."""
        ...


@dataclass(frozen=True)
class Fault:
    """`inject(rig)` is a context: broken within, whole again after; what it yields are the names of
    replicas that reach no quorum, if any. goes_on: whether writes are expected to succeed while it
    is broken. needs: what not every machine has."""

    name: str
    expectation: str
    inject: Callable[..., AbstractAsyncContextManager[Sequence[str] | None]]
    goes_on: bool = True
    needs: str = ""


@dataclass
class Report:
    """What one trial found. `during`: writes that were acknowledged while it was broken."""

    fault: Fault
    history: History = field(default_factory=History)
    violations: list[Violation] = field(default_factory=list)
    during: int = 0
    longest_gap_s: float = 0.0
    seconds: float = 0.0

    @property
    def acknowledged(self) -> int:
        return len(self.history.acked)

    def line(self) -> str:
        reads = sum(not each.is_write for each in self.history.operations) + len(self.history.reads)
        verdict = "ok" if not self.violations else "VIOLATED"
        return (
            f"{self.fault.name:24} {self.acknowledged:5} acknowledged ({self.during} meanwhile, "
            f"{self.history.unknown} unknown)  {reads:5} reads  {self.history.watched:5} watched  "
            f"longest gap {self.longest_gap_s:4.1f} s  {self.seconds:3.0f} s in all  {verdict}"
        )


async def trial(rig: Rig, fault: Fault, seconds: float, label: str, progress_s: float = PROGRESS_S) -> Report:
    """Run one fault for `seconds`, mend it, and judge. Violations are in the report, not raised.

    progress_s: how long to wait for writes that should go on; the fault lasts as long.
    """
    report = Report(fault)
    began = time.monotonic()
    try:
        async with asyncio.timeout(TRIAL_S):
            await _run(rig, report, seconds, label, progress_s)
    except (Violation, CommandFailed, TooComplex) as error:
        report.violations.append(error if isinstance(error, Violation) else Stalled(f"the rig: {error}"))
    except TimeoutError:
        report.violations.append(Stalled(f"not done after {TRIAL_S:g} s"))
    report.seconds = time.monotonic() - began
    return report


async def _run(rig: Rig, report: Report, seconds: float, label: str, progress_s: float) -> None:
    workload = Workload(rig.replicas, label)
    report.history = workload.history
    try:
        await workload.start()
        await asyncio.sleep(WARM_UP_S)
        before = workload.acknowledged
        async with report.fault.inject(rig) as without_quorum:
            broken_at = time.monotonic()
            await asyncio.sleep(seconds)
            if report.fault.goes_on and not await _progress(workload, before, progress_s):
                text = f"only {workload.acknowledged - before} writes were acknowledged while it lasted"
                report.violations.append(Stalled(text))
            report.during = workload.acknowledged - before
            cuts = [CutOff(name, broken_at, time.monotonic()) for name in without_quorum or ()]
            report.history.cut_off += cuts
        await rig.settled()
        if not await _progress(workload, workload.acknowledged, progress_s):
            raise Stalled(f"writes did not go on within {progress_s:g} s after it was mended")
        history = await workload.stop()
    finally:
        await workload.close()
        report.longest_gap_s = workload.longest_gap_s
    logs = await rig.logs(history.start, history.end)
    report.violations += judge(history, logs)


async def _progress(workload: Workload, since: int, within_s: float) -> bool:
    """Whether writes go on: there come to be PROGRESS more than `since`."""
    deadline = time.monotonic() + within_s
    while workload.acknowledged < since + PROGRESS:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(POLL_S)
    return True


def summary(rig: str, reports: Sequence[Report]) -> str:
    """The last line of a rig's output."""
    acknowledged = sum(report.acknowledged for report in reports)
    violations = sum(len(report.violations) for report in reports)
    return f"{rig}: {len(reports)} faults, {acknowledged} acknowledged writes, {violations} violations"
