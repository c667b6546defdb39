"""Snapshots in the background, and letting go of the log that they cover.

The state is persistent (state.py), so its pointer is the snapshot. It is encoded in steps
of about a millisecond on the loop, with pauses that leave the loop most of its time; a
thread would hold the interpreter as long, and not choose when. The file is written and
synced in a thread. Then the log below it goes, but for a trailing window, from which
followers and watchers that lag a little are served.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from raftstore import limits, snapshot
from raftstore.errors import StoreError
from raftstore.state import State
from raftstore.wal.disk import Disk, disk_error

if TYPE_CHECKING:
    from raftstore.replica import Replica

log = logging.getLogger(__name__)

T = TypeVar("T")

RETRY_S = 10.0
# Of the loop's time, how much making a snapshot may take.
SHARE = 0.3
WRITE_BYTES = limits.MIB


class Compactor:
    """The snapshots of one replica. `index`: where the newest one on disk stands."""

    def __init__(self, replica: Replica, index: int) -> None:
        self.index = index
        self._replica = replica
        self._disk: Disk = replica.opened.snapshot_disk
        self._bytes = 0
        self._making: asyncio.Task[int] | None = None
        self._writing: set[str] = set()  # the name of the snapshot that is being written
        self._retry_at = 0.0
        self._dropping = asyncio.Lock()

    def applied(self, command_bytes: int) -> None:
        self._bytes += command_bytes

    def tick(self, now: float) -> None:
        """Start a snapshot when enough has been applied since the last one, and let the feed's past go.

        now: seconds of the loop's clock, by which the feed counts too.
        """
        self._replica.feed_log.expire(int(now * 1000))
        config = self._replica.config
        entries = self._replica.node.applied_index - self.index
        due = entries >= config.snapshot_entries or (entries and self._bytes >= config.snapshot_bytes)
        if due and self._making is None and now >= self._retry_at:
            self._retry_at = now + RETRY_S
            self._start().add_done_callback(self._report)

    async def take(self) -> int:
        """Make one now, or wait for the one that is being made; its index. Raises StoreError."""
        return await asyncio.shield(self._making or self._start())

    async def installed(self, index: int) -> None:
        """A snapshot from the leader has been installed: what was before it can go."""
        self.index, self._bytes = index, 0
        await self._drop(index)

    async def close(self) -> None:
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait([self._making])

    def _start(self) -> asyncio.Task[int]:
        self._making = asyncio.get_running_loop().create_task(self._make())
        self._making.add_done_callback(self._made)
        return self._making

    def _made(self, task: asyncio.Task[int]) -> None:
        self._making = None

    def _report(self, task: asyncio.Task[int]) -> None:
        """Of a snapshot that nobody waits for."""
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StoreError):
            log.warning("no snapshot: %s; trying again in %g s", error, RETRY_S)
        elif error is not None:
            self._replica.fail(error)

    async def _make(self) -> int:
        replica, node = self._replica, self._replica.node
        index, state = node.applied_index, replica.machine.state
        term = node.term_at(index)
        if index <= self.index or term is None:
            return self.index
        started, self._bytes = time.monotonic(), 0
        voters = node.voters_at(index)
        await worked_out(state)
        header = snapshot.header_of(
            state, term=term, voters=voters, cluster_id=replica.cluster_id, index=index
        )
        name = snapshot.snapshot_name(index)
        self._writing = {name}
        try:
            size = await write_file(self._disk, name, paced(snapshot.encode(header, state)))
        finally:
            self._writing = set()
        if index > self.index:  # else one from the leader has overtaken it
            self.index = index
            await self._drop(index)
        log.info("snapshot at %d: %d bytes in %.1f s", index, size, time.monotonic() - started)
        return index

    async def _drop(self, index: int) -> None:
        """Let go of the log below `index`, but for the trailing window and what transfers go on with.

        One at a time: a snapshot made here and one from the leader may be done in the same moment, and two
        threads must not wipe one segment or remove one file.
        """
        async with self._dropping:
            await self._drop_now(index)

    async def _drop_now(self, index: int) -> None:
        replica, config = self._replica, self._replica.config
        held = replica.transfers.held()
        furthest = index - max(config.keep_entries, limits.SNAPSHOTS_HELD * config.snapshot_entries)
        goal = min(index - config.keep_entries, max(furthest, min(held.values(), default=index)))
        replica.wal.drop_to(goal, collect=False)
        await replica.disk.run(replica.wal.collect_garbage)
        await in_thread(partial(snapshot.prune, self._disk, spare={*held, *self._writing}))
        while await in_thread(replica.wal.wipe):
            pass


async def write_file(disk: Disk, name: str, chunks: AsyncIterator[bytes]) -> int:
    """Write a file under a temporary name and rename it when it is durable; its size in bytes.

    Raises DiskFull, DiskFailed; then what was written is removed, as the log may need the space.
    """
    temporary = name + ".tmp"
    buffer = bytearray()
    size = 0
    try:
        await in_thread(partial(disk.truncate, temporary, 0))
        async for chunk in chunks:
            buffer += chunk
            if len(buffer) >= WRITE_BYTES:
                size += len(buffer)
                await in_thread(partial(disk.append, temporary, bytes(buffer)))
                buffer.clear()
        await in_thread(partial(disk.append, temporary, bytes(buffer)))
        await in_thread(partial(snapshot.commit_file, disk, temporary, name))
    except OSError as error:
        with contextlib.suppress(OSError):
            await in_thread(partial(disk.unlink, temporary))
        raise disk_error(error, f"writing snapshot {name}") from error
    return size + len(buffer)


async def paced(steps: Iterable[T], share: float = SHARE) -> AsyncIterator[T]:
    """The steps of a long computation, with pauses so that it takes `share` of the loop's time."""
    iterator, spent = iter(steps), 0.0
    while True:
        started = time.perf_counter()  # uvloop's own clock stands still within one pass
        try:
            item = next(iterator)
        except StopIteration:
            return
        spent += time.perf_counter() - started
        yield item
        if spent > 0.001:
            await asyncio.sleep(spent * (1 - share) / share)
            spent = 0.0


async def worked_out(state: State) -> None:
    """Returns when `state.digest()` costs nothing."""
    async for _ in paced(state.work_out()):
        pass


async def in_thread(work: Callable[[], T], executor: Executor | None = None) -> T:
    """Cancelled, it ends when the work has: files must not be closed under a thread that writes them."""
    running = asyncio.get_running_loop().run_in_executor(executor, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise
