"""A small client of the replicas' HTTP API, for the demo and its story."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp

TIMEOUT_S = 10.0
RETRY_S = 0.05
INDEX_HEADER = "X-Raftmesh-Index"


class ApiError(Exception):
    """An answer that is not a success, with its status and body."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"status {status}: {body[:300]}")
        self.status = status


class Api:
    """One session for all replicas; `replica` in each call is a base URL."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S))
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def put(self, replica: str, path: str, document: Mapping[str, Any]) -> int:
        """Write through `replica`; the log index of the write."""
        assert self._session is not None
        async with self._session.put(replica + path, json=document) as response:
            if response.status not in (200, 201):
                raise ApiError(response.status, await response.text())
            return int(response.headers[INDEX_HEADER])

    async def get(self, replica: str, path: str) -> Any:
        assert self._session is not None
        async with self._session.get(replica + path) as response:
            if response.status != 200:
                raise ApiError(response.status, await response.text())
            return await response.json()

    async def delete(self, replica: str, path: str) -> None:
        assert self._session is not None
        async with self._session.delete(replica + path) as response:
            if response.status != 200:
                raise ApiError(response.status, await response.text())

    async def post(self, replica: str, path: str, document: Mapping[str, Any]) -> Any:
        assert self._session is not None
        async with self._session.post(replica + path, json=document) as response:
            if response.status not in (200, 201, 202, 204):
                raise ApiError(response.status, await response.text())
            return await response.json() if response.content_length else None

    async def dataplane_token(self, replica: str, mesh: str, name: str) -> str:
        """A token with which that proxy, and no other, may connect.

        A cluster that has just started may not have its signing keys yet: 404, then try again.
        """
        assert self._session is not None
        body = {"mesh": mesh, "name": name, "validFor": "24h"}
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            async with self._session.post(replica + "/tokens/dataplane", json=body) as response:
                text = await response.text()
                if response.status == 200:
                    return text
                if response.status != 404 or time.monotonic() > deadline:
                    raise ApiError(response.status, text)
            await asyncio.sleep(RETRY_S)

    async def ready(self, replica: str) -> bool:
        assert self._session is not None
        try:
            async with self._session.get(replica + "/ready") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def leader(self, replicas: Sequence[str]) -> str | None:
        """The id of the leader that a quorum-holding replica among `replicas` knows."""
        for replica in replicas:
            try:
                status = await self.get(replica, "/cluster")
            except (ApiError, aiohttp.ClientError, TimeoutError):
                continue
            if status["leader"] and status["hasQuorum"]:
                return str(status["leader"])
        return None
