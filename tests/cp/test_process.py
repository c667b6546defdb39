"""The parent of a replica's processes: restarts, order of stopping, and children that cannot run."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from cp.config import load
from cp.limits import HEALTHY_AFTER_S, RESTART_BACKOFF_S_MAX, RESTART_BACKOFF_S_MIN
from cp.ports import StoreUnusable
from cp.process import Backoff, Supervisor, run_directory

WAIT_S = 20.0

# Notes its start and end with its role; ends when its input does or on SIGTERM, or as FILE says.
CHILD = """
import json, os, signal, sys, time
directory, role = sys.argv[1], sys.argv[2]
settings = json.loads(sys.stdin.readline())
def note(what):
    with open(os.path.join(directory, "log"), "a") as log:
        log.write(f"{role} {what}\\n")
def stop(*_):
    note("stopped")
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
note("started")
order = os.path.join(directory, role)
if os.path.exists(order):
    status = int(open(order).read())
    os.unlink(order)
    os._exit(status)
note("waits for " + settings["config"]["raft"]["nodeId"])
sys.stdin.read()
note("is alone")
"""


def lines(directory: Path) -> list[str]:
    log = directory / "log"
    return log.read_text().splitlines() if log.exists() else []


async def until(directory: Path, line: str, count: int = 1) -> None:
    async with asyncio.timeout(WAIT_S):
        while lines(directory).count(line) < count:
            await asyncio.sleep(0.02)


def supervisor(tmp_path: Path, workers: int = 1) -> Supervisor:
    script = tmp_path / "child.py"
    script.write_text(CHILD)
    config = load(None, {"RAFTMESH_WORKERS": str(workers), "RAFTMESH_RAFT_NODE_ID": "cp-7"}).config
    return Supervisor(config, str(tmp_path), (sys.executable, str(script), str(tmp_path)))


def test_pauses_double_and_begin_anew_after_a_healthy_run() -> None:
    backoff = Backoff()
    pauses = [backoff.after_run_of(0.0) for _ in range(8)]
    assert pauses[:3] == [RESTART_BACKOFF_S_MIN, 2 * RESTART_BACKOFF_S_MIN, 4 * RESTART_BACKOFF_S_MIN]
    assert pauses[-1] == RESTART_BACKOFF_S_MAX
    assert backoff.after_run_of(HEALTHY_AFTER_S) == RESTART_BACKOFF_S_MIN


@pytest.mark.process
async def test_workers_stop_before_their_store(tmp_path: Path) -> None:
    parent = supervisor(tmp_path, workers=2)
    running = asyncio.create_task(parent.run())
    for role in ("store", "worker-0", "worker-1"):
        await until(tmp_path, f"{role} waits for cp-7")
    parent.stop()
    await asyncio.wait_for(running, WAIT_S)
    assert lines(tmp_path)[-1] == "store stopped"
    assert {"worker-0 stopped", "worker-1 stopped"} <= set(lines(tmp_path))


@pytest.mark.process
async def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "worker-0").write_text("3")
    parent = supervisor(tmp_path)
    running = asyncio.create_task(parent.run())
    await until(tmp_path, "worker-0 waits for cp-7")
    assert lines(tmp_path).count("worker-0 started") == 2
    process = parent.store.process
    assert process is not None
    process.kill()
    await until(tmp_path, "store waits for cp-7", 2)
    parent.stop()
    await asyncio.wait_for(running, WAIT_S)


@pytest.mark.process
async def test_a_child_that_can_never_run_stops_everything(tmp_path: Path) -> None:
    (tmp_path / "store").write_text(str(os.EX_CONFIG))
    (tmp_path / "store.reason").write_text("the store cannot run: for this reason\n")
    parent = supervisor(tmp_path)
    with pytest.raises(StoreUnusable, match=r"^the store cannot run: for this reason$"):
        await asyncio.wait_for(parent.run(), WAIT_S)
    assert lines(tmp_path).count("store started") == 1


@pytest.mark.process
async def test_children_see_that_their_parent_is_gone(tmp_path: Path) -> None:
    parent = supervisor(tmp_path)
    running = asyncio.create_task(parent.run())
    await until(tmp_path, "worker-0 waits for cp-7")
    process = parent.workers[0].process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    await until(tmp_path, "worker-0 is alone")
    parent.stop()
    await asyncio.wait_for(running, WAIT_S)


def test_the_sockets_directory_is_private_and_short() -> None:
    with run_directory() as path:
        assert os.stat(path).st_mode & 0o077 == 0
        assert len(path) < 60
    assert not os.path.exists(path)
