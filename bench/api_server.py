"""The servers of the API benchmark: `python -m bench.api_server DATAPLANES`; prints their two ports.

One is a worker of the product on an embedded log in memory, so that what is measured is the API and not
a disk. The other is aiohttp with handlers that only do what no server can leave out: read the body, and
write an answer. /echo answers the bytes that it was given by PUT; /watch is a stream of server-sent
events that repeats what is PUT to /tell. One process, one loop, as a worker has.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys

import uvloop
from aiohttp import web

from chaos.bare import LOOPBACK
from cp.config import load
from cp.worker import Worker
from mesh.codec import decode, encode_value
from raftstore.memory import MemoryStore
from raftstore.types import Key, Put, Txn

ENVIRON = LOOPBACK
BATCH = 500


def dataplane(number: int) -> dict[str, object]:
    tags = {"kuma.io/service": f"s{number % 100}", "kuma.io/protocol": "http"}
    networking = {
        "address": f"10.0.{number >> 8 & 255}.{number & 255}",
        "inbound": [{"port": 8080, "servicePort": 8081, "tags": tags}],
        "outbound": [{"port": 20000 + n, "tags": {"kuma.io/service": f"s{n}"}} for n in range(5)],
    }
    return {"type": "Dataplane", "mesh": "default", "name": f"dp-{number:05}", "networking": networking}


async def fill(store: MemoryStore, count: int) -> None:
    for start in range(0, count, BATCH):
        documents = (dataplane(number) for number in range(start, min(start + BATCH, count)))
        writes = tuple(
            Put(Key("Dataplane", "default", str(document["name"])), encode_value(decode(document)))
            for document in documents
        )
        await store.submit(Txn(writes))


class Bare:
    """The floor."""

    def __init__(self) -> None:
        self._body = b"{}"
        self._queues: set[asyncio.Queue[bytes]] = set()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_get("/echo", self._get)
        app.router.add_put("/echo", self._set)
        app.router.add_put("/put", self._put)
        app.router.add_put("/tell", self._tell)
        app.router.add_get("/watch", self._watch)
        return app

    async def _get(self, request: web.Request) -> web.Response:
        return web.Response(body=self._body, content_type="application/json")

    async def _set(self, request: web.Request) -> web.Response:
        self._body = await request.read()
        return web.Response(body=b"{}", content_type="application/json")

    async def _put(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"{}", content_type="application/json")

    async def _tell(self, request: web.Request) -> web.Response:
        body = await request.read()
        for queue in self._queues:
            queue.put_nowait(body)
        return web.Response(body=b"{}", content_type="application/json")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        with contextlib.suppress(ConnectionResetError):  # the client went
            while True:
                await response.write(await queue.get())
        self._queues.discard(queue)
        return response


async def main(dataplanes: int) -> None:
    """Serve until stdin ends."""
    store = MemoryStore()
    worker = Worker(load(None, ENVIRON).config, store)
    await worker.start()
    runner = web.AppRunner(Bare().app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    while worker.live.view.get("Mesh", "", "default") is None:
        await asyncio.sleep(0.01)
    await fill(store, dataplanes)
    ports = {"api": worker.ports["apiServer.http.port"], "bare": runner.addresses[0][1]}
    print(json.dumps(ports), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()
    await worker.stop()
    await store.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
