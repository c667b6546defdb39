"""The entry point of the adapters: a control plane whose log can be filled exactly as given.

What is preloaded is neither validated nor stamped with labels, and all times are zero.
Nothing of this is reachable from the shipped server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from cp.config import load as load_config
from cp.worker import Worker
from mesh.codec import encode_value
from mesh.resource import Resource
from raftstore.memory import MemoryStore
from raftstore.types import DeleteScope, Key, Put, Scope, Txn
from tests.conformance.policy_cases import load
from tests.cp.conftest import ENVIRON


class Seam:
    """A worker over a log in memory."""

    def __init__(self, **environ: str) -> None:
        self.store = MemoryStore(clock_ms=lambda: 0)
        self.worker = Worker(load_config(None, ENVIRON | environ).config, self.store)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.worker.ports['apiServer.http.port']}"

    @property
    def base(self) -> str:
        return f"http://{self.address}"

    async def fill(self, resources: Iterable[Resource]) -> None:
        """Clear everything, then hold exactly these resources."""
        puts = tuple(Put(Key(*resource.key), encode_value(resource)) for resource in resources)
        outcome = await self.store.submit(Txn((DeleteScope(Scope()), *puts)))
        assert await self.worker.live.wait_for(outcome.index, 5.0)

    async def reset(self, case: Path) -> None:
        """Hold the resources of a case's file."""
        await self.fill(load(case))


@asynccontextmanager
async def seam(**environ: str) -> AsyncIterator[Seam]:
    """A running control plane; settings by environment variable."""
    opened = Seam(**environ)
    try:
        await opened.worker.start()
        yield opened
    finally:
        await opened.worker.stop()
        await opened.store.close()
