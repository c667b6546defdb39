"""A child process of a replica: `python -m cp.child ROLE`, started by `cp.process`.

Its settings come as the first line of standard input, which then stays open: its end
means that the parent is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from cp.logs import configure
from cp.ports import Unusable
from cp.process import ChildSettings
from raftstore.errors import StoreError

log = logging.getLogger(__name__)


def main(role: str) -> int:
    """Run one role; returns its exit status: EX_CONFIG when it can never work as configured, and why is in a file."""
    settings = msgspec.json.decode(sys.stdin.buffer.readline(), type=ChildSettings)
    configure(settings.config.log, role)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the parent decides
    try:
        uvloop.run(_run(role, settings))
    except Unusable as error:
        settings.reason(role).write_text(" ".join(str(error).split()) + "\n")
        return os.EX_CONFIG
    except StoreError as error:
        log.critical("%s", error)
        return 1
    return 0


async def _run(role: str, settings: ChildSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await _stop_at_end_of_input(stop)
    # Each role imports what it needs and no more: a store is up before a worker has read its modules.
    if role == "store":
        from cp.store import run_replica_store

        await run_replica_store(settings.config, settings.store_socket, stop)
    else:
        await _serve_worker(settings, int(role.removeprefix("worker-")), stop)


async def _serve_worker(settings: ChildSettings, number: int, stop: asyncio.Event) -> None:
    """Run one worker process until told to stop. Raises Unusable."""
    from cp.collector import tame
    from cp.worker import Worker, run_until
    from raftstore.client import SocketStore

    tame(asyncio.get_running_loop())
    store = SocketStore(settings.store_socket)
    worker = Worker(settings.config, store, number=number, shared_ports=settings.config.workers > 1)
    unix_sockets = [settings.worker_socket(n) for n in range(settings.config.workers)]
    with contextlib.suppress(FileNotFoundError):
        Path(unix_sockets[number]).unlink()
    try:
        await run_until(stop, worker, unix_sockets)
    finally:
        await store.close()


async def _stop_at_end_of_input(stop: asyncio.Event) -> None:
    class Watch(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            stop.set()

    await asyncio.get_running_loop().connect_read_pipe(Watch, sys.stdin)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
