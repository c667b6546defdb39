"""A worker served over real HTTP on a port of its own, its log in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson
import pytest

from chaos.bare import LOOPBACK, NO_DEFAULTS, NO_KEYS
from cp.config import load
from cp.worker import Worker
from raftstore.memory import MemoryStore

# No other port than the API's, no default mesh: a test starts from nothing unless it says otherwise.
ENVIRON = LOOPBACK | NO_KEYS | NO_DEFAULTS


@dataclass
class Answer:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]  # by name, whatever its case
    text: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.text)

    @property
    def index(self) -> int:
        return int(self.headers["X-Raftmesh-Index"])


@dataclass
class Api:
    """A client of one worker; `store` is its log, which a test may bend."""

    worker: Worker
    store: MemoryStore
    session: aiohttp.ClientSession
    base: str = field(default="")

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Answer:
        if body is not None and not isinstance(body, str | bytes):
            options["json"] = body
        elif body is not None:
            options["data"] = body
        async with self.session.request(method, self.base + path, **options) as response:
            return Answer(response.status, response.headers, await response.text())

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.call("GET", path, **options)

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.call("PUT", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.call("DELETE", path, **options)

    async def mesh(self, name: str = "default") -> Answer:
        """Create a mesh that starts with no policies."""
        body = {"type": "Mesh", "name": name, "skipCreatingInitialPolicies": ["*"]}
        answer = await self.put(f"/meshes/{name}", body)
        assert answer.status == 201, answer.text
        return answer


ApiFactory = Callable[..., Awaitable[Api]]


@pytest.fixture
async def make_api() -> AsyncIterator[ApiFactory]:
    """Starts workers; each call may change settings by environment variable."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def make(store: MemoryStore | None = None, **environ: str) -> Api:
            store = store or MemoryStore()
            worker = Worker(load(None, ENVIRON | environ).config, store, generate=False)
            stack.push_async_callback(store.close)
            stack.push_async_callback(worker.stop)
            await worker.start()
            return Api(worker, store, session, f"http://127.0.0.1:{worker.ports['apiServer.http.port']}")

        yield make


@pytest.fixture
async def api(make_api: ApiFactory) -> Api:
    return await make_api()
