"""Group commit over a memory disk: what waits shares a sync; a full disk is waited for."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable

from raftstore.errors import DiskFailed
from raftstore.group_commit import GroupCommit, ReplicaWal
from raftstore.wal import MemoryDisk


class GatedDisk(MemoryDisk):
    """Syncs wait until they are let through; may fail as a broken disk does."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False

    def datasync(self, name: str) -> None:
        self.gate.wait(10)
        if self.broken:
            raise OSError(errno.EIO, "Input/output error", name)
        super().datasync(name)


class Driver:
    def __init__(self, disk: GatedDisk) -> None:
        self.disk = disk
        wal = ReplicaWal.open(disk, cluster_id="c", node_id="n1")
        assert isinstance(wal, ReplicaWal)
        self.wal = wal
        self.durable: list[int] = []
        self.failures: list[BaseException] = []
        self.commit = GroupCommit(
            self.wal,
            on_durable=lambda: self.durable.append(self.wal.durable_index),
            on_failed=self.failures.append,
        )

    def add(self) -> None:
        self.wal.add(b"\x00command", self.wal.last_index + 1, 1)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_gathers_during_a_sync_shares_the_next() -> None:
    driver = Driver(GatedDisk())
    driver.disk.gate.clear()
    driver.add()
    driver.commit.kick()
    for _ in range(50):
        driver.add()
        driver.commit.kick()
    assert driver.wal.durable_index == 0, "nothing is durable before its sync"
    driver.disk.gate.set()
    await until(lambda: driver.wal.durable_index == 51)
    assert driver.durable == [1, 51] and driver.commit.syncs == 2
    await driver.commit.close()


async def test_a_full_disk_is_waited_for_and_nothing_is_lost() -> None:
    driver = Driver(GatedDisk())
    driver.add()
    driver.commit.kick()
    await until(lambda: driver.wal.durable_index == 1)
    driver.disk.capacity = driver.disk.used() + 10
    driver.add()
    driver.commit.kick()
    await until(lambda: driver.commit.full)
    assert "No space left" in driver.commit.full
    driver.add()
    driver.commit.kick()
    assert driver.wal.durable_index == 1
    driver.disk.capacity = None
    await until(lambda: driver.wal.durable_index == 3)
    assert driver.commit.full == "" and driver.failures == []
    await driver.commit.close()
    assert ReplicaWal.open(driver.disk, cluster_id="c", node_id="n1").last_index == 3


async def test_a_write_that_does_not_return_is_trouble_until_it_does() -> None:
    driver = Driver(GatedDisk())
    driver.disk.gate.clear()
    driver.add()
    driver.commit.kick()
    assert driver.commit.trouble == "", "every write takes its time"
    await until(lambda: driver.commit.trouble)
    assert "stalls" in driver.commit.trouble
    driver.disk.gate.set()
    await until(lambda: driver.wal.durable_index == 1)
    assert driver.commit.trouble == ""
    await driver.commit.close()


async def test_a_vote_does_not_hold_up_the_loop_and_is_withheld_until_it_is_durable() -> None:
    driver = Driver(GatedDisk())
    driver.disk.gate.clear()
    driver.wal.setCurrentTerm(1, "n1")
    driver.commit.kick()
    assert not driver.wal.hard_state_durable and driver.wal.getVotedForNodeId() == "n1"
    driver.disk.gate.set()
    await until(lambda: driver.wal.hard_state_durable)
    await driver.commit.close()


async def test_a_vote_that_finds_the_disk_full_is_withheld() -> None:
    driver = Driver(GatedDisk())
    driver.wal.setCurrentTerm(1, "n1")
    driver.wal.flush()
    driver.disk.capacity = driver.disk.used()
    driver.wal.setCurrentTerm(2, "n2")
    driver.commit.kick()
    await until(lambda: driver.commit.full)
    assert not driver.wal.hard_state_durable
    driver.disk.capacity = None
    await until(lambda: driver.wal.hard_state_durable)
    assert driver.wal.getVotedForNodeId() == "n2"
    await driver.commit.close()


async def test_a_disk_that_fails_is_reported_once_and_acknowledges_nothing() -> None:
    driver = Driver(GatedDisk())
    driver.disk.broken = True
    driver.add()
    driver.commit.kick()
    await until(lambda: driver.failures)
    assert isinstance(driver.failures[0], DiskFailed) and driver.durable == []


async def test_closing_writes_what_waits() -> None:
    driver = Driver(GatedDisk())
    driver.disk.gate.clear()
    driver.add()
    driver.commit.kick()
    driver.add()
    closing = asyncio.create_task(driver.commit.close())
    await asyncio.sleep(0)
    driver.disk.gate.set()
    await closing
    assert ReplicaWal.open(driver.disk, cluster_id="c", node_id="n1").last_index == 2
