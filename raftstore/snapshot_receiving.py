"""The follower's side of a snapshot transfer (protocol: snapshot_transfer.py).

What comes is written to a file whose name says which snapshot it is a part of: index, size
and checksum of the whole. So the file alone is enough to go on with, also after a restart:
it is believed up to its last intact chunk (a crash may have torn what follows).

Two tasks work on it. One writes what comes. The other follows it through the file, decoding in
slices between which the loop serves everybody else, and installs the snapshot at the
end; a broken link does not concern it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import google_crc32c

from raftstore import disposal, limits, snapshot
from raftstore.compaction import in_thread, paced
from raftstore.core import SnapshotMeta
from raftstore.errors import Corrupt, StoreError
from raftstore.snapshot import Snapshot, SnapshotReader
from raftstore.wal.disk import disk_error

if TYPE_CHECKING:
    from raftstore.replica import Replica

log = logging.getLogger(__name__)

T = TypeVar("T")

_SLICE_BYTES = 32 * limits.KIB
# Of the loop's time, how much decoding may take: until it is done this replica is out of date.
SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Offer:
    """Which snapshot it is. identity: see snapshot.identity."""

    index: int
    size: int
    identity: int

    @property
    def part(self) -> str:
        """The name of the file in which it is gathered."""
        return f"{self.index:020d}.{self.size}-{self.identity:08x}{snapshot.PART_SUFFIX}"


@dataclass
class _Receiving:
    """A snapshot on its way in.

    written: bytes that are in the file; -1 until it has been looked at. expected: the offset of
    the next chunk. wanted: chunks are taken in. more: `written` has grown.
    """

    peer: str
    offer: Offer
    reader: SnapshotReader
    written: int = -1
    expected: int = 0
    wanted: bool = False
    chunks: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    more: asyncio.Event = field(default_factory=asyncio.Event)
    fetching: asyncio.Task[None] | None = None
    decoding: asyncio.Task[None] | None = None


class Receiver:
    """At most one snapshot is on its way into a replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._disk = replica.opened.snapshot_disk
        self._current: _Receiving | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        # One thread: what a broken transfer was still writing comes before what the next one does.
        self._thread = ThreadPoolExecutor(1, "raftstore-transfer")

    @property
    def written(self) -> int:
        """Bytes of the snapshot on its way that are here; 0 when there is none."""
        return max(0, self._current.written) if self._current is not None else 0

    def offered(self, peer: str, offer: Offer) -> None:
        if offer.index <= self._replica.node.applied_index:
            self._say(peer, offer.index, offer.size)
            return
        current = self._current
        if current is None or current.offer != offer:
            self._stop()
            reader = SnapshotReader(f"the snapshot from {peer}", cluster_id=self._replica.cluster_id)
            current = self._current = _Receiving(peer, offer, reader)
            current.decoding = self._spawn(self._decode(current))
        elif current.written == offer.size:
            current.peer = peer  # it is here, and being installed
            return
        elif current.fetching is not None and current.peer == peer:
            return  # offered again while it is being sent
        else:
            # The link broke, or another leads and has the very same snapshot: whoever sent it before stops.
            self._stop_fetching(current)
        current.peer = peer
        current.fetching = self._spawn(self._fetch(current))

    def chunk(self, peer: str, index: int, offset: int, crc: int, data: bytes) -> None:
        """Raises ValueError when it is not the next one, not intact, or more than was asked for."""
        current = self._current
        if current is None or not current.wanted or (current.peer, current.offer.index) != (peer, index):
            return
        size = current.offer.size
        if offset != current.expected or offset + len(data) > size or not data:
            raise ValueError(f"{len(data)} bytes at {offset} of {size}, not at {current.expected}")
        if offset + len(data) - current.written > limits.TRANSFER_UNWRITTEN_BYTES_MAX:
            raise ValueError(f"{offset + len(data)} bytes, of which {current.written} were asked for")
        if google_crc32c.value(data) != crc:
            raise ValueError(f"checksum mismatch at byte {offset}")
        current.expected += len(data)
        current.chunks.put_nowait(data)

    def peer_down(self, peer: str) -> None:
        """The link broke. What has been written stays."""
        current = self._current
        if current is not None and current.peer == peer:
            self._stop_fetching(current)

    def tick(self) -> None:
        """The log may have caught up by itself, e.g. under another leader."""
        current = self._current
        if current is not None and current.offer.index <= self._replica.node.applied_index:
            self._stop()

    async def close(self) -> None:
        self._stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._thread.shutdown(wait=False)

    # --- the two tasks --------------------------------------------------------------------------

    async def _fetch(self, current: _Receiving) -> None:
        """Write what comes behind what is there."""
        offer = current.offer
        try:
            if current.written < 0:
                current.written = await self._in_thread(partial(self._look, offer))
            await self._in_thread(partial(self._disk.truncate, offer.part, current.written))
            text = "resuming the snapshot at %d at byte %d of %d from %s"
            if current.written == 0:
                text = "receiving the snapshot at %d from byte %d of %d from %s"
            log.info(text, offer.index, current.written, offer.size, current.peer)
            current.more.set()
            current.chunks = asyncio.Queue()
            current.expected, current.wanted = current.written, True
            while current.written < offer.size:
                self._say(current.peer, offer.index, current.written)
                data = await current.chunks.get()
                await self._in_thread(partial(self._disk.append, offer.part, data))
                current.written += len(data)
                current.more.set()
        except OSError as error:
            raise disk_error(error, f"receiving the snapshot at {offer.index}") from error

    def _look(self, offer: Offer) -> int:
        """How much of it an earlier attempt has left; the parts of other snapshots go. In the thread."""
        for name in self._disk.list():
            if name.endswith(snapshot.PART_SUFFIX) and name != offer.part:
                self._disk.unlink(name)
        if offer.part not in self._disk.list():
            return 0
        return min(snapshot.intact_bytes(snapshot.file_in_portions(self._disk, offer.part)), offer.size)

    async def _decode(self, current: _Receiving) -> None:
        """Follow the file to its end, then install what it holds."""
        offer, at = current.offer, 0
        while at < offer.size:
            size = min(snapshot.READ_BYTES, current.written - at)
            if size <= 0:
                current.more.clear()
                await current.more.wait()
                continue
            data = await self._in_thread(partial(self._disk.read_at, offer.part, at, size))
            async for _ in paced(snapshot.read_in_slices(data, current.reader, _SLICE_BYTES), SHARE):
                pass
            at += len(data)
            if at < offer.size:  # a sign of life, also when all has been sent
                self._say(current.peer, offer.index, at)
        found = current.reader.finish()
        if found.header.index != offer.index:
            raise Corrupt(f"the snapshot offered as {offer.index} stands at {found.header.index}")
        await self._install(current, found)

    async def _install(self, current: _Receiving, found: Snapshot) -> None:
        replica, header = self._replica, found.header
        name = snapshot.snapshot_name(header.index)
        await self._in_thread(partial(snapshot.commit_file, self._disk, current.offer.part, name))
        meta = SnapshotMeta(header.index, header.term, header.voters)
        old = disposal.release(replica.machine.state)
        installed = replica.node.install_snapshot(meta, partial(replica.restore, found.state))
        self._current = None
        self._say(current.peer, header.index, current.offer.size)
        await replica.compactor.installed(header.index)
        if installed:
            log.info("installed the snapshot at %d", header.index)
            async for _ in paced(old):
                pass

    # --- inside -----------------------------------------------------------------------------------

    def _say(self, peer: str, index: int, offset: int) -> None:
        self._replica.send(peer, ("snapshot_at", index, offset))
        self._replica.kick()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await in_thread(work, self._thread)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, StoreError | OSError):
            log.warning("the snapshot is given up: %s", error)
            part = self._current.offer.part if self._current and isinstance(error, Corrupt) else ""
            self._stop()  # the leader offers it again when it has waited in vain
            if part:
                self._thread.submit(self._disk.unlink, part)
        elif error is not None:
            self._replica.fail(error)

    def _stop(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            self._stop_fetching(current)
            if current.decoding is not None:
                current.decoding.cancel()

    def _stop_fetching(self, current: _Receiving) -> None:
        current.wanted = False
        if current.fetching is not None:
            current.fetching.cancel()
            current.fetching = None
