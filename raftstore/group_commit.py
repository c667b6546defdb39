"""Group commit: one write and one fdatasync for all that waits, in a thread of its own.

While one batch is on its way to the disk, the next gathers in memory; so the busier the
replica, the more writes share a sync. The loop never waits. Term and vote must be durable
before a message that shows them leaves (Raft, figure 2); so at elections it is the messages
that wait (Node.drain_outbox), not the loop.

A full disk is a state, not an end: what could not be written is kept and tried again each
RETRY_S. So is a disk that stalls: nothing can be known durable while a write does not
return, so somebody else should lead. A disk that fails otherwise ends the process (see
errors.DiskFailed).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

from raftstore.errors import DiskFull
from raftstore.wal import Batch, Wal

log = logging.getLogger(__name__)

RETRY_S = 1.0
# Longer than the hiccup of a busy disk, shorter than the patience of a client (5 s).
STALLED_S = 2.0


class ReplicaWal(Wal):
    """The log of a running replica: a vote is on its way to the disk when the call returns, not there.

    Whoever sends must look at `hard_state_durable` first.
    """

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:
        self.note_hard_state(term, votedForNodeId)


class GroupCommit:
    """Drives one Wal. on_durable: more of it is on disk. on_failed: the process must end.

    `full`: why nothing can be written now, or "".
    """

    def __init__(
        self, wal: Wal, *, on_durable: Callable[[], None], on_failed: Callable[[BaseException], None]
    ) -> None:
        self.full = ""
        self.syncs = 0
        self._wal = wal
        self._on_durable = on_durable
        self._on_failed = on_failed
        self._loop = asyncio.get_running_loop()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="raftstore-wal", daemon=True).start()
        self._writing = False
        self._writing_since = 0.0
        self._idle = asyncio.Event()
        self._idle.set()
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def trouble(self) -> str:
        """Why this replica should not lead: a disk that is full or stalls; "" when there is no reason."""
        if self.full or not self._writing:
            return self.full
        seconds = self._loop.time() - self._writing_since
        return f"the disk stalls: a write takes longer than {STALLED_S:g} s" if seconds > STALLED_S else ""

    def kick(self) -> None:
        """Start writing if something waits and nothing is being written."""
        if self._writing or self.full or self._closed or not self._wal.pending():
            return
        batch = self._wal.take()
        if batch is not None:
            self._start(batch)

    async def close(self) -> None:
        """Write what waits, and release the log. Raises DiskFull, DiskFailed."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        await self._idle.wait()
        try:
            await self.run(self._wal.close)
        finally:
            self._jobs.put(None)

    async def run(self, work: Callable[[], object]) -> None:
        """Do other blocking work on the log in the same thread, between two writes."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put(partial(self._do, work, partial(_resolve, done)))
        await done

    def _start(self, batch: Batch) -> None:
        self._writing, self._writing_since = True, self._loop.time()
        self._idle.clear()
        self._jobs.put(partial(self._do, partial(self._wal.write, batch), partial(self._written, batch)))

    def _work(self) -> None:
        """The thread. A plain queue there, one call back: an executor and its futures take as long
        as a fast disk."""
        while (job := self._jobs.get()) is not None:
            job()

    def _do(self, work: Callable[[], object], on_done: Callable[[BaseException | None], None]) -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as failed:  # noqa: BLE001 - whoever waits decides what it means
            error = failed
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits
            self._loop.call_soon_threadsafe(on_done, error)

    def _written(self, batch: Batch, error: BaseException | None) -> None:
        self._writing = False
        self._idle.set()
        if isinstance(error, DiskFull):
            self._wait_for_space(str(error))
            return
        if error is not None:
            self._on_failed(error)
            return
        if self.full:
            log.warning("the disk has space again")
            self.full = ""
        self.syncs += 1
        self._wal.mark_durable(batch.lsn)
        if not self._closed:
            self.kick()
            self._on_durable()

    def _wait_for_space(self, reason: str) -> None:
        if not self.full:
            log.error("no writes until space returns: %s", reason)
        self.full = reason
        self._retry = self._loop.call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        batch = self._wal.take()
        if batch is not None and not self._closed and not self._writing:
            self._start(batch)


def _resolve(done: asyncio.Future[None], error: BaseException | None) -> None:
    """Whoever waited may have been cancelled."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
