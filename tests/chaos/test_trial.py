"""A trial finds what stalls, what does not come back and what the rig itself cannot do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from chaos import wrong_servers as servers
from chaos.history import Stalled
from chaos.shell import CommandFailed, missing, run
from chaos.trial import Fault, Report, summary, trial
from raftstore.errors import Unavailable
from raftstore.guarantees import Fenced
from raftstore.types import Commit


class Rig:
    """The right servers of the judges' tests, as a rig."""

    def __init__(self, cluster: servers.Cluster) -> None:
        self.cluster, self.replicas = cluster, cluster.replicas

    async def settled(self) -> None:
        if self.cluster.log.refuse is not None:
            raise Stalled("it still refuses")

    async def logs(self, after: int, upto: int) -> dict[str, list[Commit]]:
        return {"r1": await self.cluster.commits(after, upto)}


@asynccontextmanager
async def nothing(rig: Rig) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def no_writes(rig: Rig) -> AsyncIterator[None]:
    rig.cluster.log.refuse = Unavailable("no quorum")
    yield
    rig.cluster.log.refuse = None


@asynccontextmanager
async def no_writes_for_ever(rig: Rig) -> AsyncIterator[None]:
    rig.cluster.log.refuse = Unavailable("no quorum")
    yield


@asynccontextmanager
async def impossible(rig: Rig) -> AsyncIterator[None]:
    await run("false")
    yield


@asynccontextmanager
async def no_quorum_at_the_first(rig: Rig) -> AsyncIterator[Sequence[str]]:
    """So it says; but all of them go on serving."""
    yield list(rig.replicas)[:1]


async def tried(fault: Fault, seconds: float = 0.5) -> Report:
    async with servers.cluster() as cluster:
        return await trial(Rig(cluster), fault, seconds, "trial", progress_s=3.0)


async def test_a_fault_that_breaks_nothing() -> None:
    report = await tried(Fault("nothing", "", nothing), 3.0)
    assert report.violations == []
    assert report.during >= 20 and report.line().endswith("ok")


async def test_writes_that_stop_are_a_violation_only_where_they_should_go_on() -> None:
    allowed = await tried(Fault("no-writes", "", no_writes, goes_on=False))
    assert allowed.violations == []
    assert allowed.longest_gap_s >= 0.25  # of 0.5 s, as a write on its way may still be answered
    broken = await tried(Fault("no-writes", "", no_writes))
    assert [type(each) for each in broken.violations] == [Stalled]
    assert broken.line().endswith("VIOLATED")


async def test_who_serves_without_a_quorum_is_not_fenced() -> None:
    report = await tried(Fault("cut-off", "", no_quorum_at_the_first), 3.0)
    assert [type(each) for each in report.violations] == [Fenced]
    assert report.history.cut_off[0].replica in str(report.violations[0])


async def test_what_does_not_come_back_is_a_violation() -> None:
    report = await tried(Fault("for-ever", "", no_writes_for_ever, goes_on=False))
    assert "still refuses" in str(report.violations[0])


async def test_a_rig_that_cannot_inject_proves_nothing() -> None:
    report = await tried(Fault("impossible", "", impossible))
    assert "false: status 1" in str(report.violations[0])
    assert summary("rig", [report]).endswith(" 1 violations")


async def test_commands_are_bounded_and_say_what_failed() -> None:
    assert await run("echo", "said") == "said\n"
    with pytest.raises(CommandFailed, match="sleep 10: not done"):
        async with asyncio.timeout(30):
            await run("sleep", "10", timeout_s=0.1)
    with pytest.raises(CommandFailed, match="No such file"):
        await run("ls", "/does/not/exist")
    assert missing(["sh", "no-such-command"]) == ["no-such-command"]
