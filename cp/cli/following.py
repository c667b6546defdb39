"""Following a stream of the API over broken connections and dead replicas: nothing missing, nothing twice.

A server-sent event counts when its empty line has come: what a broken connection cut off is asked for
again. The stream goes on after the last whole commit, snapshot or bookmark, through whichever address
answers. The first connection has to succeed; later ones are tried until somebody ends the command.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

import aiohttp
import orjson

from cp.cli.client import CONNECT_S, tls_context, why
from cp.cli.contexts import ControlPlane
from cp.cli.errors import CommandError, Unreachable, from_problem

LINE_BYTES_MAX = 64 << 20  # one commit is one line
SILENCE_S = 60.0  # idle streams carry bookmarks more often than that
RETRY_S_MIN, RETRY_S_MAX = 0.1, 5.0
_TRY_ANOTHER = (429, 502, 503, 504)
COMPACTED = "what came after index {} is no longer kept; start anew without --since"


class Message(NamedTuple):
    """event: snapshot or commit. at: the log index that it stands for. data: its JSON text."""

    event: str
    at: int
    data: str


class Lost(Exception):
    """A stream ended, or could not be had here; another address may have it."""


class Follower:
    """One stream of one command."""

    def __init__(self, control_plane: ControlPlane, path: str, params: Mapping[str, str]) -> None:
        self._control_plane = control_plane
        self._path = path
        self._params = dict(params) | {"watch": "true"}
        self._connected = False

    async def messages(self) -> AsyncIterator[Message]:
        """Snapshots and commits, without end. Raises CommandError."""
        headers = dict(self._control_plane.headers)
        if self._control_plane.token:
            headers["Authorization"] = f"Bearer {self._control_plane.token}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S)
        is_tls = any(address.startswith("https:") for address in self._control_plane.addresses)
        connector = aiohttp.TCPConnector(ssl=tls_context(self._control_plane) if is_tls else True)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers=headers, read_bufsize=LINE_BYTES_MAX
        ) as session:
            pause_s = RETRY_S_MIN
            while True:
                failures: list[str] = []
                for address in self._control_plane.addresses:
                    began_at = self._params.get("since")
                    try:
                        async for message in self._stream(session, address):
                            yield message
                    except (Lost, aiohttp.ClientError, TimeoutError) as error:
                        failures.append(f"{address}: {why(error)}")
                    if self._params.get("since") != began_at:
                        pause_s = RETRY_S_MIN
                await self._between(failures, pause_s)
                pause_s = min(pause_s * 2, RETRY_S_MAX)

    async def _between(self, failures: list[str], pause_s: float) -> None:
        """All addresses were tried: give up if none ever answered, else say so and wait."""
        told = "; ".join(failures)
        if not self._connected:
            raise Unreachable(f"no control plane could be reached: {told}")
        print(f"Warning: the stream was lost and is taken up again: {told}", file=sys.stderr)
        await asyncio.sleep(pause_s)

    async def _stream(self, session: aiohttp.ClientSession, address: str) -> AsyncIterator[Message]:
        async with session.get(address + self._path, params=self._params) as response:
            if response.status in _TRY_ANOTHER:
                raise Lost(f"status {response.status}")
            if response.status == 410:
                raise CommandError(COMPACTED.format(self._params.get("since", "")))
            if response.status != 200:
                raise from_problem(response.status, await _problem(response))
            self._connected = True
            async for event, index, data in _events(response.content):
                if event == "compacted":
                    raise CommandError(COMPACTED.format(self._params.get("since", index)))
                if event != "bookmark":
                    yield Message(event, index, data)
                if event != "snapshot" or orjson.loads(data)["last"]:
                    self._params["since"] = str(index)
        raise Lost("the stream ended")


async def _problem(response: aiohttp.ClientResponse) -> Any:
    text = await response.text()
    with contextlib.suppress(orjson.JSONDecodeError):
        return orjson.loads(text)
    return text


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, int, str]]:
    """Whole server-sent events: (event, id, data)."""
    fields: dict[str, str] = {}
    async for raw in content:
        line = raw.decode()
        if not line.endswith("\n"):
            return  # cut off
        name, _, value = line.rstrip("\n").partition(": ")
        if name:
            fields[name] = value
        elif fields.keys() >= {"event", "id", "data"}:
            yield fields["event"], int(fields["id"]), fields["data"]
            fields = {}
