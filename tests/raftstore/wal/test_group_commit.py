"""The log between a loop that changes it and a thread that writes it."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from raftstore.wal import RealDisk, Wal


async def write_until(wal: Wal, done: asyncio.Event) -> int:
    """What a shell does: one batch under way, the next one gathers meanwhile; how many batches."""
    loop, batches = asyncio.get_running_loop(), 0
    with ThreadPoolExecutor(1) as thread:
        while not done.is_set() or wal.pending():
            batch = wal.take()
            if batch is None:
                await asyncio.sleep(0)
                continue
            await loop.run_in_executor(thread, wal.write, batch)
            wal.mark_durable(batch.lsn)
            batches += 1
    return batches


async def test_a_loop_and_a_writing_thread_agree(tmp_path: Path) -> None:
    wal = Wal.open(RealDisk(tmp_path), cluster_id="c", node_id="n", segment_bytes=5000)
    done = asyncio.Event()
    writer = asyncio.create_task(write_until(wal, done))
    seen = 0
    for index in range(1, 1001):
        wal.add(b"%d" % index, index, 1)
        if index % 100 == 0:
            wal.setCurrentTerm(index, "n")  # flushes on the loop while the thread may be writing
            assert wal.durable_index == index
        if index % 250 == 0:
            wal.drop_to(index - 200)
        assert wal.durable_index >= seen
        seen = wal.durable_index
        await asyncio.sleep(0)
    done.set()
    async with asyncio.timeout(30):
        assert await writer <= 1000
    assert wal.durable_index == 1000
    expected = wal[:]
    wal.close()
    again = Wal.open(RealDisk(tmp_path), cluster_id="c", node_id="n")
    assert again[-len(expected) :] == expected and again.getCurrentTerm() == 1000
    again.close()
