"""A small client of the Docker Engine's API, over its socket: what the faults need, and no more.

By the API and not by the command line, so that the driver runs on the host and, with the
socket mounted, in a container that has no docker of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from chaos.shell import CommandFailed

SOCKET = Path("/var/run/docker.sock")
VERSION = (1, 41)  # Docker Engine 20.10
CALL_S = 60.0


class EngineError(CommandFailed):
    """What the engine answered, with the call."""


class Engine:
    """Use it as a context."""

    def __init__(self, socket: Path = SOCKET) -> None:
        self._connector = aiohttp.UnixConnector(str(socket))
        self._session: aiohttp.ClientSession | None = None
        self._version = ""

    async def __aenter__(self) -> Engine:
        timeout = aiohttp.ClientTimeout(total=CALL_S)
        self._session = aiohttp.ClientSession(connector=self._connector, timeout=timeout)
        try:
            self._version = version_for(json.loads(await self._call("GET", "/version")))
        except BaseException:
            await self._session.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def containers(self, labels: list[str]) -> list[dict[str, Any]]:
        """Also those that do not run. `labels`: "name=value"."""
        query = {"all": "true", "filters": json.dumps({"label": labels})}
        return list(json.loads(await self._call("GET", "/containers/json", query=query)))

    async def inspect(self, container: str) -> dict[str, Any]:
        return dict(json.loads(await self._call("GET", f"/containers/{container}/json")))

    async def act(self, container: str, action: str, **query: str) -> None:
        """start, stop, kill, pause, unpause or restart."""
        await self._call("POST", f"/containers/{container}/{action}", query=query)

    async def create(self, name: str, body: dict[str, Any]) -> str:
        """A new container, not started; its id. `body`: as the API wants it."""
        return str(json.loads(await self._call("POST", "/containers/create", body, {"name": name}))["Id"])

    async def remove(self, container: str) -> None:
        """Also when it runs."""
        await self._call("DELETE", f"/containers/{container}", query={"force": "true", "v": "true"})

    async def said(self, container: str) -> str:
        """All that a container with a terminal has written."""
        query = {"stdout": "true", "stderr": "true"}
        return (await self._call("GET", f"/containers/{container}/logs", query=query)).decode(
            errors="replace"
        )

    async def disconnect(self, network: str, container: str) -> None:
        body = {"Container": container, "Force": True}
        await self._call("POST", f"/networks/{network}/disconnect", body)

    async def connect(self, network: str, container: str, aliases: list[str]) -> None:
        """Back into a network, under the same names as before; the address may be another."""
        body = {"Container": container, "EndpointConfig": {"Aliases": aliases}}
        await self._call("POST", f"/networks/{network}/connect", body)

    async def run(self, container: str, command: list[str], user: str = "") -> str:
        """The output of a command within a container. Raises EngineError when it fails."""
        body = {"AttachStdout": True, "AttachStderr": True, "Tty": True, "Cmd": command, "User": user}
        made = json.loads(await self._call("POST", f"/containers/{container}/exec", body))["Id"]
        out = await self._call("POST", f"/exec/{made}/start", {"Detach": False, "Tty": True})
        status = json.loads(await self._call("GET", f"/exec/{made}/json"))["ExitCode"]
        text = out.decode(errors="replace").replace("\r\n", "\n")
        if status != 0:
            raise EngineError(f"{' '.join(command)} in {container}: status {status}: {text[-1000:]}")
        return text

    async def _call(
        self, method: str, path: str, body: object = None, query: dict[str, str] | None = None
    ) -> bytes:
        assert self._session is not None
        url = f"http://docker{self._version}{path}"
        async with self._session.request(method, url, json=body, params=query) as response:
            answer = await response.read()
            if response.status >= 400:
                said = answer.decode(errors="replace").strip()
                raise EngineError(f"{method} {path}: {response.status}: {said[:1000]}")
            return answer


def version_for(told: dict[str, Any]) -> str:
    """The prefix of all paths for an engine that tells so of itself: VERSION, or the oldest that it still
    speaks (engines of version 29 and later speak 1.44 and later)."""
    oldest = tuple(int(part) for part in str(told.get("MinAPIVersion", "1.12")).split("."))
    return "/v" + ".".join(map(str, max(VERSION, oldest)))
