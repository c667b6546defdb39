"""The leader's side of a snapshot transfer (protocol: snapshot_transfer.py).

A transfer that breaks is remembered for a while: the file is kept although a newer snapshot has
taken its place, and so is the log that follows it. Whoever comes back, also after a
restart, is offered the same file again and goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import google_crc32c

from raftstore import limits, snapshot
from raftstore.compaction import in_thread

if TYPE_CHECKING:
    from raftstore.replica import Replica

log = logging.getLogger(__name__)


@dataclass
class _Sending:
    """One follower is being sent the snapshot in the open file `fd`.

    offset: the next byte to send; -1 until the follower has said from where. confirmed: what it has.
    """

    name: str
    index: int
    size: int
    fd: int
    heard: float
    offset: int = -1
    confirmed: int = 0
    progress: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


@dataclass(frozen=True, slots=True)
class _Broken:
    """A transfer that may be gone on with. until: on the loop's clock."""

    name: str
    index: int
    until: float


class Sender:
    """All transfers that one replica, leading, has under way."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._disk = replica.opened.snapshot_disk
        self._sending: dict[str, _Sending] = {}
        self._broken: dict[str, _Broken] = {}
        self._given: dict[str, float] = {}  # until when who has it may still seem to need one
        self._loop = asyncio.get_running_loop()

    def needed(self, peer: str) -> None:
        """The leader's log does not reach back to what `peer` needs. Said again and again."""
        if peer in self._sending or self._loop.time() < self._given.get(peer, 0.0):
            return
        name = self._choose(peer)
        if not name:
            return  # the one being made will be there soon
        fd = os.open(self._replica.opened.directory.snapshot_path / name, os.O_RDONLY | os.O_CLOEXEC)
        index, size = snapshot.index_of(name), os.fstat(fd).st_size
        tail = os.pread(fd, snapshot.TRAILER_BYTES_MAX, max(0, size - snapshot.TRAILER_BYTES_MAX))
        self._sending[peer] = _Sending(name, index, size, fd, self._loop.time())
        log.info("sending %s the snapshot at %d, %d bytes", peer, index, size)
        self._replica.send(peer, ("snapshot", index, size, snapshot.identity(tail)))

    def confirmed(self, peer: str, index: int, offset: int) -> None:
        sending = self._sending.get(peer)
        if sending is None or sending.index != index or offset > sending.size:
            return
        sending.heard = self._loop.time()
        if offset == sending.size:
            self._stop(peer)
            self._broken.pop(peer, None)
            self._given[peer] = self._loop.time() + self._replica.raft.election_timeout_max_s
            return
        sending.confirmed = max(sending.confirmed, offset)
        if sending.offset < 0:
            sending.offset = offset
            sending.task = self._loop.create_task(self._send(peer, sending))
        sending.progress.set()

    def peer_down(self, peer: str) -> None:
        self._stop(peer)

    def tick(self, now: float) -> None:
        """Give up on who is silent, and when another leads."""
        for peer, sending in list(self._sending.items()):
            if now - sending.heard > limits.TRANSFER_SILENCE_S or not self._replica.node.is_leader:
                self._stop(peer)
        self._broken = {peer: broken for peer, broken in self._broken.items() if broken.until > now}

    def held(self) -> dict[str, int]:
        """The files that are being sent, or may be gone on with, and where each stands."""
        sending = {each.name: each.index for each in self._sending.values()}
        return sending | {each.name: each.index for each in self._broken.values()}

    def close(self) -> None:
        for peer in list(self._sending):
            self._stop(peer)

    def _choose(self, peer: str) -> str:
        """The file to offer: the one of which `peer` may have a part, if the log still follows it."""
        names = snapshot.snapshot_names(self._disk)
        broken = self._broken.get(peer)
        if broken is not None and broken.name in names and self._replica.wal.first_index <= broken.index:
            return broken.name
        return names[-1] if names else ""

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

    def _stop(self, peer: str) -> None:
        sending = self._sending.pop(peer, None)
        if sending is None:
            return
        if sending.task is not None:
            # A thread may be reading: the number of a file that is closed may soon be another's.
            sending.task.add_done_callback(lambda _: os.close(sending.fd))
            sending.task.cancel()
        else:
            os.close(sending.fd)
        until = self._loop.time() + limits.TRANSFER_RESUME_S
        self._broken[peer] = _Broken(sending.name, sending.index, until)
