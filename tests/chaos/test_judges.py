"""The rig is judged: clients and checks must catch each wrong control plane, and no right one."""

from __future__ import annotations

import asyncio

import pytest

from chaos.history import History, judge
from chaos.workload import Workload
from cp.worker import Worker
from raftstore.guarantees import Violation
from tests.chaos import wrong_servers as wrong

ENOUGH = 250  # acknowledged writes
DEADLINE_S = 20.0


async def run(replica: type[wrong.Replica], worker: type[Worker]) -> tuple[History, list[Violation]]:
    async with wrong.cluster(replica, worker) as cluster:
        workload = Workload(cluster.replicas, "judged", pause_s=0.004)
        try:
            await workload.start()
            async with asyncio.timeout(DEADLINE_S):
                while workload.acknowledged < ENOUGH:
                    await asyncio.sleep(0.02)
            history = await workload.stop()
        finally:
            await workload.close()
        commits = await cluster.commits(history.start, history.end)
        return history, judge(history, dict.fromkeys(cluster.replicas, commits))


async def test_a_right_control_plane_is_found_right() -> None:
    history, violations = await run(wrong.Replica, Worker)
    assert violations == []
    assert len(history.acked) >= ENOUGH and history.unknown == 0
    assert len(history.reads) > 20 and history.watched > ENOUGH
    assert any(not each.is_write for each in history.operations)


@pytest.mark.parametrize(
    ("replica", "worker", "broken"),
    [
        (wrong.StaleReads, Worker, "Linearizable"),
        (wrong.LosesWrites, Worker, "Durable"),
        (wrong.WritesTwice, Worker, "ExactlyOnce"),
        (wrong.HalfTransactions, Worker, "Atomic"),
        (wrong.Replica, wrong.SkippingWorker, "Reliable"),
    ],
)
async def test_a_wrong_one_is_caught_by_the_promise_that_it_breaks(
    replica: type[wrong.Replica], worker: type[Worker], broken: str
) -> None:
    _, violations = await run(replica, worker)
    assert broken in {type(violation).__name__ for violation in violations}
