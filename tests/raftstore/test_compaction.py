"""Snapshots in the background, and the log that they let go of."""

from __future__ import annotations

import asyncio
from pathlib import Path

from raftstore import limits
from raftstore.compaction import paced, write_file
from raftstore.embedded import EmbeddedStore
from raftstore.settings import StoreConfig
from raftstore.snapshot import snapshot_names
from raftstore.wal import MemoryDisk
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
