"""`raftmesh dp run`: bootstrap, start, watch, drain.

The life of a proxy: the control plane registers its Dataplane when Envoy's first xDS
request arrives, and takes it away some time after the stream has ended; the runner's
part is only that Envoy starts with the right bootstrap and ends in good order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import aiohttp

from dp.admin import Admin, admin_address
from dp.control_plane import fetch_bootstrap
from dp.envoy import Envoy, command_line, envoy_version, find_envoy
from dp.errors import EnvoyFailed
from dp.options import Options
from dp.restarts import RestartPolicy

log = logging.getLogger("raftmesh.dp")

READY_POLL_S = 0.05
DRAIN_POLL_S = 0.2


async def run(options: Options) -> None:
    """Run one proxy until SIGTERM or SIGINT. Raises RunnerError when it cannot go on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopping: asyncio.Task[bool] = loop.create_task(stop.wait())
    try:
        binary = find_envoy(options.envoy_path)
        fetching = asyncio.ensure_future(fetch_bootstrap(options, envoy_version(binary), time.monotonic))
        await asyncio.wait([fetching, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not fetching.done():
            fetching.cancel()
            return
        bootstrap = fetching.result()
        config = write_bootstrap(options.work_dir, bootstrap)
        admin = Admin(admin_address(bootstrap))
        await supervise(command_line(binary, config, options), admin, options.drain_time_s, stopping)
    finally:
        stopping.cancel()


def write_bootstrap(work_dir: Path, bootstrap: bytes) -> Path:
    """It may hold the proxy's token: private file, private directory."""
    work_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = work_dir / "bootstrap.yaml"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(bootstrap)
    return path


async def supervise(
    command: list[str], admin: Admin, drain_time_s: float, stopping: asyncio.Future[Any]
) -> None:
    """Keep one Envoy running until `stopping` is done; drain it then."""
    policy = RestartPolicy()
    while not stopping.done():
        envoy = await Envoy.start(command)
        log.info("envoy started, pid %d", envoy.pid)
        exited = asyncio.ensure_future(envoy.wait())
        announcing = asyncio.ensure_future(announce_ready(admin))
        try:
            await asyncio.wait([exited, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                await drain(admin, exited, drain_time_s)
                return
            pause_s = policy.died(time.monotonic())
            if pause_s is None:
                raise EnvoyFailed(f"envoy keeps dying (last exit status {exited.result()}); its log says why")
            log.error("envoy ended with status %d, starting it again in %.1f s", exited.result(), pause_s)
        finally:
            announcing.cancel()
            await envoy.stop()
        await asyncio.wait({stopping}, timeout=pause_s)


async def announce_ready(admin: Admin) -> None:
    """Say once that Envoy serves: scripts and people wait for this line."""
    while not await admin.is_live():
        await asyncio.sleep(READY_POLL_S)
    log.info("envoy is live")


async def drain(admin: Admin, exited: asyncio.Future[int], drain_time_s: float) -> None:
    """Fail health checks, stop accepting, give the open connections the drain time, and end.

    A second of quiet is enough when nothing is connected; an Envoy that is gone already
    needs no drain.
    """
    log.info("draining for up to %.0f s", drain_time_s)
    deadline = time.monotonic() + drain_time_s
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        await admin.request("POST", "/healthcheck/fail")
        await admin.request("POST", "/drain_listeners?graceful&skip_exit")
        while time.monotonic() < deadline and not exited.done():
            if await active_connections(admin) == 0:
                break
            await asyncio.wait({exited}, timeout=DRAIN_POLL_S)
        await admin.request("POST", "/quitquitquit")
        await asyncio.wait({exited}, timeout=DRAIN_POLL_S)


async def active_connections(admin: Admin) -> int:
    """Downstream connections open now, over all listeners but the admin's."""
    _, text = await admin.request("GET", "/stats?filter=^listener\\..*\\.downstream_cx_active$")
    total = 0
    for line in text.splitlines():
        name, separator, value = line.rpartition(":")
        if separator and not name.startswith("listener.admin"):
            total += int(value)
    return total
