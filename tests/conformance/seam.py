"""The seam of the conformance suites: a real control plane whose log can be filled exactly as given.

Many cases begin with resources that the API would refuse or decorate.  So the adapters start a real
Worker over a log in memory, on a port of its own, and write to that log directly: no validation, no
computed labels, times zero.  Nothing of this exists in the shipped server.  No worker number 0 runs
here, so neither default resources nor keys are created, and nothing generates resources.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from cp.ca.keeper import admin_bundle
from cp.cli import main
from cp.config import load
from cp.worker import Worker
from mesh.codec import decode, encode_value
from mesh.resource import Resource
from raftstore.memory import MemoryStore
from raftstore.types import DeleteScope, Key, Put, Scope, Txn
from xds.config.admintls import ADMIN_CA

ENVIRON = {
    "RAFTMESH_API_SERVER_HTTP_PORT": "0",
    "RAFTMESH_API_SERVER_HTTP_INTERFACE": "127.0.0.1",
    "RAFTMESH_API_SERVER_HTTPS_ENABLED": "false",
    "RAFTMESH_DIAGNOSTICS_SERVER_PORT": "0",
    "RAFTMESH_DP_SERVER_PORT": "0",
    "RAFTMESH_DP_SERVER_INTERFACE": "127.0.0.1",
    "RAFTMESH_DEFAULTS_SKIP_MESH_CREATION": "true",
    "RAFTMESH_DEFAULTS_SKIP_HOSTNAME_GENERATORS": "true",
}
GLOBAL = {"RAFTMESH_MODE": "global"}
# Port 1 answers nobody: the zone is federated, and alone.
FEDERATED = {"RAFTMESH_MULTIZONE_ZONE_GLOBAL_ADDRESS": "grpcs://127.0.0.1:1"}

_TIME = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)(?=")')
_ZERO_TIME = "0001-01-01T00:00:00Z"


@dataclass
class Answer:
    """What the API said, its own address and all times replaced as the goldens have them."""

    status: int
    reason: str
    text: str


class Seam:
    """A running control plane, its log open to the test."""

    def __init__(self, worker: Worker, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.worker = worker
        self._session = session
        self._clock = clock

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.worker.ports['apiServer.http.port']}"

    async def clear(self) -> None:
        """Delete everything."""
        await self._submit([DeleteScope(Scope(None, None))])

    async def make_admin_authority(self) -> None:
        """The authority behind the admin interfaces of proxies, as the control plane makes it itself."""
        data = base64.b64encode(admin_bundle(time.time())).decode()
        await self.preload([decode({"type": "GlobalSecret", "name": ADMIN_CA, "data": data})])

    async def preload(self, resources: Iterable[Resource]) -> None:
        """Append resources as they are, written at time zero."""
        self._clock.stopped = True
        await self._submit([Put(Key(*each.key), encode_value(each)) for each in resources])
        self._clock.stopped = False

    async def _submit(self, writes: list[Any]) -> None:
        if not writes:
            return
        outcome = await self.worker.store.submit(Txn(tuple(writes)))
        assert outcome.applied
        assert await self.worker.live.wait_for(outcome.index, 60.0)

    async def call(self, method: str, path: str, body: str | None = None) -> Answer:
        """One request; `body` is JSON or YAML, which is JSON's superset."""
        headers = {"Content-Type": "application/yaml"} if body is not None else {}
        url = f"http://{self.address}{path}"
        async with self._session.request(method, url, data=body, headers=headers) as answer:
            text = (await answer.text()).replace(self.address, "{{address}}")
            return Answer(answer.status, answer.reason or "", zero_times(text))

    async def command(self, *arguments: str) -> str:
        """What the command prints, run in a thread as it brings its own loop."""
        printed, complaints = io.StringIO(), io.StringIO()
        argv = [*arguments, "--cp-address", f"http://{self.address}"]

        def run() -> None:
            out, err = contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints)
            with out, err, contextlib.suppress(SystemExit):
                main(argv)

        await asyncio.to_thread(run)
        return printed.getvalue() + complaints.getvalue()


class Clock:
    """The log's clock, which stands at zero while resources are preloaded."""

    stopped = False

    def __call__(self) -> int:
        return 0 if self.stopped else time.time_ns() // 1_000_000


@asynccontextmanager
async def running(**environ: str) -> AsyncIterator[Seam]:
    """A control plane with these settings, for as long as the block lasts."""
    clock = Clock()
    store = MemoryStore(clock_ms=clock)
    worker = Worker(load(None, ENVIRON | environ).config, store, number=1)
    await worker.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Seam(worker, session, clock)
    finally:
        await worker.stop()
        await store.close()


def zero_times(text: str) -> str:
    """The text with every time set to the year 1."""
    return _TIME.sub(_ZERO_TIME, text)


def resource_of(document: Mapping[str, Any]) -> Resource:
    """A resource from its document as a case has it, in the default mesh unless it says otherwise."""
    times = ("creationTime", "modificationTime", "kri")
    return decode({key: value for key, value in document.items() if key not in times})
