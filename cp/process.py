"""The parent of a replica's processes: one store, N workers, and the care for them.

A replica is a *store* process (Raft, log, feed) and *worker* processes (view, API, xDS), so
that a long derivation costs no election and a bug in one takes no voter down. The parent
does nothing but start them, start them again with back-off when they die, and stop them in
order: workers first, so that what they still write finds the store.

A child gets its settings as one line on its standard input and keeps it open: when the
parent dies, however it dies, the child sees the end of input and stops. A child that cannot
run as configured leaves the reason in the replica's directory, one line, and exits with
EX_CONFIG; then everything stops, since starting it again would say the same, and the
parent says it, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from cp.config_schema import Config
from cp.limits import HEALTHY_AFTER_S, RESTART_BACKOFF_S_MAX, RESTART_BACKOFF_S_MIN, STOP_TIMEOUT_S
from cp.ports import StoreUnusable, Unusable

log = logging.getLogger(__name__)

CHILD = (sys.executable, "-m", "cp.child")


class ChildSettings(msgspec.Struct, frozen=True):
    """What a child is told: the whole configuration and where the replica's processes meet."""

    config: Config
    run_dir: str

    @property
    def store_socket(self) -> str:
        return str(Path(self.run_dir) / "store.sock")

    def reason(self, role: str) -> Path:
        """Where a child that cannot run as configured says why."""
        return Path(self.run_dir) / f"{role}.reason"

    def worker_socket(self, number: int) -> str:
        return str(Path(self.run_dir) / f"worker-{number}.sock")


@dataclass
class Backoff:
    """Pauses between restarts: doubling, and short again after a healthy run. Pure: time is given."""

    pause_s: float = 0.0

    def after_run_of(self, seconds: float) -> float:
        """How long to wait before the next start, given how long the last run held."""
        if seconds >= HEALTHY_AFTER_S:
            self.pause_s = 0.0
        self.pause_s = min(max(self.pause_s * 2, RESTART_BACKOFF_S_MIN), RESTART_BACKOFF_S_MAX)
        return self.pause_s


@dataclass
class Child:
    """One supervised process. `role` is `store` or `worker-N`."""

    role: str
    settings: bytes
    command: tuple[str, ...]
    process: asyncio.subprocess.Process | None = None
    backoff: Backoff = field(default_factory=Backoff)
    restarts: int = -1

    async def run_once(self) -> int:
        """Start the process and wait for its end; returns its exit status."""
        self.restarts += 1
        self.process = await asyncio.create_subprocess_exec(
            *self.command, self.role, stdin=asyncio.subprocess.PIPE
        )
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.process.stdin.write(self.settings + b"\n")
            await self.process.stdin.drain()
        return await self.process.wait()

    async def stop(self) -> None:
        """Ask it to end, then insist."""
        process = self.process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            log.warning("%s did not stop within %g s; killing it", self.role, STOP_TIMEOUT_S)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Supervisor:
    """Runs the children of one replica until told to stop, or until one cannot run.

    command: what starts a child; the role is its last argument.
    """

    def __init__(self, config: Config, run_dir: str, command: tuple[str, ...] = CHILD) -> None:
        self._settings = ChildSettings(config, run_dir)
        settings = msgspec.json.encode(self._settings)
        self.store = Child("store", settings, command)
        self.workers = [Child(f"worker-{n}", settings, command) for n in range(config.workers)]
        self._stopping = asyncio.Event()
        self._fatal = self._fatal_role = ""

    async def run(self) -> None:
        """Returns after a stop that was asked for. Raises Unusable when a child cannot run."""
        tasks = [asyncio.create_task(self._keep(child)) for child in (self.store, *self.workers)]
        await self._stopping.wait()
        await asyncio.gather(*(worker.stop() for worker in self.workers))
        await self.store.stop()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._fatal:
            raise StoreUnusable(self._fatal) if self._fatal_role == "store" else Unusable(self._fatal)

    def stop(self) -> None:
        self._stopping.set()

    async def _keep(self, child: Child) -> None:
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await child.run_once()
            if self._stopping.is_set():
                return
            if status == os.EX_CONFIG:
                self._give_up(child.role)
                return
            pause = child.backoff.after_run_of(time.monotonic() - started)
            log.error("%s ended with %s; starting it again in %.1f s", child.role, _meaning(status), pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    def _give_up(self, role: str) -> None:
        reason = self._settings.reason(role)
        told = reason.read_text().strip() if reason.exists() else "its reason is in the log"
        self._fatal, self._fatal_role = self._fatal or told, self._fatal_role or role
        self.stop()


def _meaning(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-status).name}"
    return f"status {status}"


@contextlib.contextmanager
def run_directory() -> Iterator[str]:
    """A private directory for the replica's sockets; short, since a socket's path has 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="raftmesh-", ignore_cleanup_errors=True) as path:
        yield path


async def supervise(config: Config) -> None:
    """Run one replica as several processes until SIGTERM or SIGINT. Raises Unusable."""
    with run_directory() as run_dir:
        supervisor = Supervisor(config, run_dir)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, supervisor.stop)
        await supervisor.run()
