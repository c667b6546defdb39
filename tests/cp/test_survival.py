"""Random valid resources of every kind come back as they were written: from GET, a watch, a snapshot, a backup."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cp.config import load
from cp.worker import Worker
from mesh.codec import decode
from mesh.kinds.base import Kind
from mesh.registry import KINDS
from raftstore.backup import restore
from raftstore.embedded import EmbeddedStore
from raftstore.settings import StoreConfig
from tests.cp.conftest import ENVIRON
from tests.mesh.samples import WRITTEN, valid_documents

Json = dict[str, Any]
NODE = "cp-1"
MESH = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"]}


class Served:
    """A control plane on a directory, and a client of it."""

    def __init__(self, store: EmbeddedStore, worker: Worker, session: aiohttp.ClientSession) -> None:
        self.store = store
        self._session = session
        self._base = f"http://127.0.0.1:{worker.ports['apiServer.http.port']}"

    @staticmethod
    @contextlib.asynccontextmanager
    async def on(directory: Path) -> AsyncIterator[Served]:
        store = await EmbeddedStore.open(StoreConfig(NODE, str(directory)))
        worker = Worker(load(None, ENVIRON).config, store)
        try:
            await worker.start()
            async with aiohttp.ClientSession() as session:
                yield Served(store, worker, session)
        finally:
            await worker.stop()
            await store.close()

    async def put(self, kind: Kind, document: Json) -> int:
        async with self._session.put(self._base + path_of(kind, document), json=document) as response:
            assert response.status in (200, 201), (document, await response.text())
            return int(response.headers["X-Raftmesh-Index"])

    async def get(self, kind: Kind, document: Json) -> Json:
        async with self._session.get(self._base + path_of(kind, document)) as response:
            assert response.status == 200, await response.text()
            found: Json = await response.json()
            return found

    async def watched(self, after: int, names: set[str]) -> dict[str, Json]:
        """The resources of these names, by kind, as soon as each was told of."""
        found: dict[str, Json] = {}
        async with self._session.get(f"{self._base}/history?watch=true&since={after}") as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    events = orjson.loads(line.removeprefix(b"data: ")).get("events", ())
                    found |= {event["type"]: event["resource"] for event in events if event["name"] in names}
                if len(found) == len(names):
                    return found
        raise AssertionError("the watch ended")


def path_of(kind: Kind, document: Json) -> str:
    prefix = "/meshes/default" if kind.scope == "mesh" else ""
    return f"{prefix}/{kind.path}/{document['name']}"


def written(document: Json) -> Json:
    """What a client wrote of a resource. Its status is the control plane's, who writes it any time."""
    return {name: value for name, value in document.items() if name not in ("status", "modificationTime")}


async def told(served: Served, documents: dict[str, Json]) -> dict[str, Json]:
    return {name: written(await served.get(KINDS[name], each)) for name, each in documents.items()}


async def survives(documents: dict[str, Json], directory: Path) -> None:
    async with Served.on(directory / "a") as served:
        begun = await served.put(KINDS["Mesh"], MESH)
        for name, document in documents.items():
            await served.put(KINDS[name], document)
        found = await told(served, documents)
        for name, document in documents.items():
            assert decode(found[name]).spec == decode(document).spec
        names = {document["name"] for document in documents.values()}
        watched = await asyncio.wait_for(served.watched(begun, names), 60.0)
        for name, each in watched.items():
            told_of = (
                {"data"} if KINDS[name].admin_only else set()
            )  # what secrets hold is not in the log of changes
            expected = {key: value for key, value in found[name].items() if key not in told_of}
            assert {key: value for key, value in written(each).items() if key not in told_of} == expected
        await served.store.replica.admin.snapshot()
        with (directory / "backup").open("wb") as file:
            async for chunk in served.store.backup():
                file.write(chunk)
    restore(directory / "backup", directory / "b", cluster_id=NODE, node_id=NODE, voters=[NODE])
    for place in ("a", "b"):  # from the snapshot and the log, and from the backup
        async with Served.on(directory / place) as served:
            assert await told(served, documents) == found


# Each example starts a control plane three times, so a failing one is shown as it was found.
@settings(
    max_examples=4,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.fixed_dictionaries({kind.name: valid_documents(kind, kind.name.lower()) for kind in WRITTEN}))
def test_what_is_written_comes_back(documents: dict[str, Json]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(survives(documents, Path(directory)))
