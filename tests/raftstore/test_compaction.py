"""Snapshots in the background, and the log that they let go of."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from raftstore import limits
from raftstore.compaction import paced, write_file
from raftstore.embedded import EmbeddedStore
from raftstore.errors import DiskFull
from raftstore.settings import StoreConfig
from raftstore.snapshot import snapshot_names
from raftstore.wal import MemoryDisk, RealDisk
from tests.raftstore.replicas import put, read, until


def config(root: Path) -> StoreConfig:
    return StoreConfig(node_id="n1", data_dir=str(root / "data"), snapshot_entries=50, keep_entries=10)


async def test_a_snapshot_is_made_when_due_and_the_log_is_cut(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    replica = store.replica
    for number in range(120):
        outcome = await store.submit(put(f"w{number}"))
    await until(lambda: replica.compactor.index >= 50, "a snapshot is made by itself")
    assert replica.wal.first_index >= replica.compactor.index - 10
    assert await replica.admin.snapshot() == outcome.index
    assert len(snapshot_names(replica.opened.snapshot_disk)) == 1, "older ones are removed"
    assert replica.wal.first_index == outcome.index - 10, "a trailing window stays"
    await store.close()
    again = await EmbeddedStore.open(config(tmp_path))
    records, _ = await read(again, outcome.index)
    assert len(records) == 120 and again.replica.compactor.index == outcome.index
    await again.close()


async def test_writes_go_on_while_a_snapshot_is_made(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    await asyncio.gather(*(store.submit(put(f"w{n}", b"x" * 1000)) for n in range(3000)))
    making = asyncio.create_task(store.replica.admin.snapshot())
    during = 0
    while not making.done():
        await store.submit(put(f"during{during}"))
        during += 1
    assert during > 3
    index = await making
    await store.close()
    again = await EmbeddedStore.open(config(tmp_path))
    records, _ = await read(again, index + during)
    assert len(records) == 3000 + during
    await again.close()


async def test_the_feeds_past_ends_by_age_also_when_nothing_is_written(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    outcome = await store.submit(put("a"))
    feed, now = store.replica.feed_log, asyncio.get_running_loop().time()
    store.replica.compactor.tick(now)
    assert feed.commits == 1
    store.replica.compactor.tick(now + 2 * limits.FEED_AGE_MS_MAX / 1000)
    assert feed.commits == 0 and feed.first_index == outcome.index
    await store.close()


async def test_nothing_new_makes_no_snapshot(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    first = await store.replica.admin.snapshot()
    assert await store.replica.admin.snapshot() == first
    await store.close()


async def test_a_file_has_its_name_only_when_it_is_whole() -> None:
    disk = MemoryDisk()
    seen: list[list[str]] = []

    def steps() -> object:
        for _ in range(5):
            seen.append(disk.list())
            yield b"x" * 700_000

    assert await write_file(disk, "a.snap", paced(steps())) == 3_500_000  # type: ignore[arg-type]
    assert all("a.snap" not in names for names in seen) and disk.list() == ["a.snap"]
    disk.power_cut()
    assert len(disk.read("a.snap")) == 3_500_000


async def test_what_does_not_fit_on_the_disk_is_removed_again() -> None:
    """The rest of a snapshot would keep the log from being written, which needs a few bytes only."""
    disk = MemoryDisk(capacity=3 * limits.MIB)
    disk.append("log", b"x" * limits.MIB)
    with pytest.raises(DiskFull, match=r"writing snapshot a\.snap"):
        await write_file(disk, "a.snap", paced([bytes(limits.MIB)] * 5))
    assert disk.list() == ["log"] and disk.used() == limits.MIB


class Meeting(RealDisk):
    """Notes whether two threads were in sync_dir together."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.met = False
        self._inside = threading.Semaphore(1)

    def sync_dir(self) -> None:
        first = self._inside.acquire(timeout=0.2)
        self.met = self.met or not first
        super().sync_dir()
        if first:
            threading.Event().wait(0.3)  # long enough for the other to come, if it may
            self._inside.release()


async def test_what_two_snapshots_let_go_of_goes_one_after_the_other(tmp_path: Path) -> None:
    store = await EmbeddedStore.open(config(tmp_path))
    compactor = store.replica.compactor
    index = await compactor.take()
    disk = compactor._disk = Meeting(store.replica.opened.directory.snapshot_path)
    await asyncio.gather(compactor.installed(index), compactor.installed(index))
    assert not disk.met
    await store.close()
    disk.close()
