"""Commands of the system, bounded in time, whose failure says what they said."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence

COMMAND_S = 60.0


class CommandFailed(Exception):
    """A command of the rig ended with an error; the message is the command and what it said."""


async def run(
    *command: str, timeout_s: float = COMMAND_S, check: bool = True, environ: Mapping[str, str] | None = None
) -> str:
    """Its standard output. Raises CommandFailed, also when it took too long."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=None if environ is None else {**os.environ, **environ},
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    except TimeoutError:
        raise CommandFailed(f"{' '.join(command)}: not done after {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if check and process.returncode != 0:
        said = (err or out).decode(errors="replace").strip()
        raise CommandFailed(f"{' '.join(command)}: status {process.returncode}: {said[-2000:]}")
    return out.decode(errors="replace")


def missing(commands: Sequence[str]) -> list[str]:
    """Those of `commands` that are not installed."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [command for command in commands if shutil.which(command, path=path) is None]
