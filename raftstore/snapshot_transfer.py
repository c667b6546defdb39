"""A snapshot from the leader to a follower that the log does not reach any more.

Over the peer connection, among everything else:

    leader                                        follower
    ("snapshot", index, size)              ->
                                           <-     ("snapshot_at", index, offset)   send from here
    ("snapshot_data", index, offset,
        crc32c, bytes), ...                ->
                                           <-     ("snapshot_at", index, offset)   after each chunk

At most TRANSFER_WINDOW_BYTES are under way, so that heartbeats find room between. When the
connection breaks, the follower keeps what was whole and asks for the rest when the same
replica offers the same snapshot again. `offset` == `size` says: have it, or do not want it.

Nothing is believed before all of it has been verified (snapshot.py), and the file is
durable here before the node jumps to it. The decoding is paced, like the making.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import google_crc32c

from raftstore import limits, snapshot
from raftstore.compaction import in_thread, paced
from raftstore.core import SnapshotMeta
from raftstore.errors import Corrupt, StoreError
from raftstore.frames import Value
from raftstore.snapshot import Snapshot, SnapshotReader
from raftstore.wal.disk import disk_error

if TYPE_CHECKING:
    from raftstore.replica import Replica

log = logging.getLogger(__name__)

_SLICE_BYTES = 32 * limits.KIB


@dataclass
class _Sending:
    """One follower is being sent the snapshot in the open file `fd`."""

    index: int
    size: int
    fd: int
    heard: float
    offset: int = -1  # the next byte to send; -1 until the follower has said from where
    confirmed: int = 0
    progress: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@dataclass
class _Receiving:
    """A snapshot on its way in. `expected` is the offset of the next chunk."""

    peer: str
    index: int
    size: int
    reader: SnapshotReader
    chunks: asyncio.Queue[bytes]
    expected: int = 0
    task: asyncio.Task[None] | None = None

    @property
    def temporary(self) -> str:
        return snapshot.snapshot_name(self.index) + ".part"


class Transfers:
    """Both sides, for one replica."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._disk = replica.opened.snapshot_disk
        self._sending: dict[str, _Sending] = {}
        self._receiving: _Receiving | None = None
        self._loop = asyncio.get_running_loop()
        # One thread: what a broken transfer was still writing comes before what the next one does.
        self._thread = ThreadPoolExecutor(1, "raftstore-transfer")

    # --- events -------------------------------------------------------------------------------

    def needed(self, peer: str) -> None:
        """The leader's log does not reach back to what `peer` needs. Said again and again."""
        if peer in self._sending:
            return
        names = snapshot.snapshot_names(self._disk)
        if not names:
            return  # the one being made will be there soon
        fd = os.open(self._replica.opened.directory.snapshot_path / names[-1], os.O_RDONLY | os.O_CLOEXEC)
        index, size = int(names[-1].split(".")[0]), os.fstat(fd).st_size
        self._sending[peer] = _Sending(index, size, fd, self._loop.time())
        log.info("sending %s the snapshot at %d, %d bytes", peer, index, size)
        self._replica.send(peer, ("snapshot", index, size))

    def frame(self, peer: str, name: str, frame: tuple[Value, ...]) -> bool:
        """Take a frame if it is one of ours. Raises ValueError for a wrong shape."""
        match frame:
            case ("snapshot", int(index), int(size)) if index > 0 and size > 0:
                self._offered(peer, index, size)
            case ("snapshot_at", int(index), int(offset)) if offset >= 0:
                self._confirmed(peer, index, offset)
            case ("snapshot_data", int(index), int(offset), int(crc), bytes(data)):
                self._chunk(peer, index, offset, crc, data)
            case _:
                if name.startswith("snapshot"):
                    raise ValueError("wrong shape")
                return False
        return True

    def peer_down(self, peer: str) -> None:
        self._stop_sending(peer)
        receiving = self._receiving
        if receiving is not None and receiving.peer == peer:
            self._pause(receiving)

    def tick(self, now: float) -> None:
        """Give up on who is silent, and when another leads."""
        for peer, sending in list(self._sending.items()):
            silent = now - sending.heard > limits.TRANSFER_SILENCE_S
            if silent or not self._replica.node.is_leader:
                self._stop_sending(peer)

    async def close(self) -> None:
        for peer in list(self._sending):
            self._stop_sending(peer)
        if self._receiving is not None:
            self._pause(self._receiving)
        self._thread.shutdown(wait=False)

    # --- the leader's side ----------------------------------------------------------------------

    def _confirmed(self, peer: str, index: int, offset: int) -> None:
        sending = self._sending.get(peer)
        if sending is None or sending.index != index or offset > sending.size:
            return
        sending.heard = self._loop.time()
        if offset == sending.size:
            self._stop_sending(peer)
            return
        sending.confirmed = offset
        if sending.offset < 0:
            sending.offset = offset
            sending.task = self._loop.create_task(self._send(peer, sending))
        sending.progress.set()

    async def _send(self, peer: str, sending: _Sending) -> None:
        while sending.offset < sending.size:
            if sending.offset - sending.confirmed >= limits.TRANSFER_WINDOW_BYTES:
                sending.progress.clear()
                await sending.progress.wait()
                continue
            data = await in_thread(partial(os.pread, sending.fd, limits.TRANSFER_CHUNK_BYTES, sending.offset))
            crc = google_crc32c.value(data)
            self._replica.send(peer, ("snapshot_data", sending.index, sending.offset, crc, data))
            self._replica.kick()
            sending.offset += len(data)

    def _stop_sending(self, peer: str) -> None:
        sending = self._sending.pop(peer, None)
        if sending is not None:
            if sending.task is not None:
                sending.task.cancel()
            os.close(sending.fd)

    # --- the follower's side --------------------------------------------------------------------

    def _offered(self, peer: str, index: int, size: int) -> None:
        if index <= self._replica.node.applied_index:
            self._replica.send(peer, ("snapshot_at", index, size))
            return
        current = self._receiving
        if current is not None and (current.peer, current.index, current.size) == (peer, index, size):
            if current.task is not None:
                return  # offered again while it is being installed
            current.expected = current.reader.resume()
            log.info("resuming the snapshot at %d at byte %d of %d", index, current.expected, size)
        else:
            if current is not None:
                self._pause(current)
            reader = SnapshotReader(f"the snapshot from {peer}", cluster_id=self._replica.cluster_id)
            current = self._receiving = _Receiving(peer, index, size, reader, asyncio.Queue())
            log.info("receiving the snapshot at %d from %s, %d bytes", index, peer, size)
        current.chunks = asyncio.Queue()
        current.task = self._loop.create_task(self._receive(current, current.expected))
        current.task.add_done_callback(self._received)

    def _chunk(self, peer: str, index: int, offset: int, crc: int, data: bytes) -> None:
        current = self._receiving
        if current is None or current.task is None or (current.peer, current.index) != (peer, index):
            return
        if offset != current.expected or offset + len(data) > current.size or not data:
            raise ValueError(f"{len(data)} bytes at {offset} of {current.size}, not at {current.expected}")
        if google_crc32c.value(data) != crc:
            raise ValueError(f"checksum mismatch at byte {offset}")
        current.expected += len(data)
        current.chunks.put_nowait(data)

    async def _receive(self, current: _Receiving, offset: int) -> None:
        """Write and decode what comes, then install it. `offset`: where the file goes on."""
        try:
            await self._in_thread(partial(self._disk.truncate, current.temporary, offset))
            self._say_offset(current, offset)
            while offset < current.size:
                data = await current.chunks.get()
                await self._in_thread(partial(self._disk.append, current.temporary, data))
                async for _ in paced(snapshot.read_in_slices(data, current.reader, _SLICE_BYTES)):
                    pass
                offset += len(data)
                if offset < current.size:
                    self._say_offset(current, offset)
            name = snapshot.snapshot_name(current.index)
            found = current.reader.finish()
            await self._in_thread(partial(snapshot.commit_file, self._disk, current.temporary, name))
        except OSError as error:
            raise disk_error(error, f"receiving the snapshot at {current.index}") from error
        await self._install(current, found)

    async def _install(self, current: _Receiving, found: Snapshot) -> None:
        replica, header = self._replica, found.header
        if header.index != current.index:
            raise Corrupt(f"the snapshot offered as {current.index} stands at {header.index}")
        meta = SnapshotMeta(header.index, header.term, header.voters)
        if replica.node.install_snapshot(meta, partial(replica.restore, found.state)):
            log.info("installed the snapshot at %d", header.index)
        self._receiving = None
        self._say_offset(current, current.size)
        await replica.compactor.installed(header.index)

    async def _in_thread(self, work: Callable[[], object]) -> None:
        await self._loop.run_in_executor(self._thread, work)

    def _say_offset(self, current: _Receiving, offset: int) -> None:
        self._replica.send(current.peer, ("snapshot_at", current.index, offset))
        self._replica.kick()

    def _received(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, StoreError):
            log.warning("the snapshot is given up: %s", error)
            self._receiving = None  # the leader offers it again when it has waited in vain
        elif error is not None:
            self._replica.fail(error)

    def _pause(self, current: _Receiving) -> None:
        """The link broke, or another snapshot is offered. What was read stays in the reader."""
        if current.task is not None:
            current.task.cancel()
            current.task = None
