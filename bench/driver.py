"""The external client of a race, in a process of its own: the same loops for both sides.

    Driver(...) in the benchmark  -- one JSON line each way -->  python -m bench.driver

Commands are the methods of Driver. With N outstanding, N loops each wait for their answer
before they ask again, on one connection.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import uvloop

from bench.harness import percentile
from bench.store_clients import KEYS, PUT, RANGE, WATCH, Address, Etcd, Raftmesh, StoreClient

LINE_BYTES_MAX = 1 << 24
FILL_OUTSTANDING = 128
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Loaded:
    """One load: answers per second, and their latencies in milliseconds."""

    answers: int
    rate: float
    p50_ms: float
    p99_ms: float


class Driver:
    """Runs the client process; `async with Driver() as driver`. side: "raftmesh" or "etcd"."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Driver:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.driver"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            limit=LINE_BYTES_MAX,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def load(
        self, side: str, address: Address, what: str, size: int, outstanding: int, seconds: float
    ) -> Loaded:
        """what: put or read (linearizable), of KEYS keys. Raises RuntimeError when one fails."""
        return Loaded(**await self._ask("load", side, address, what, size, outstanding, seconds))

    async def fill(self, side: str, address: Address, size: int, count: int) -> None:
        """Write `count` keys, each once."""
        await self._ask("fill", side, address, size, count)

    async def watch(
        self, side: str, watched: Address, written: Address, watchers: int, writes: int
    ) -> list[tuple[float, float]]:
        """(first, last) milliseconds from a put to its event at one of `watchers` connections, by put."""
        found = await self._ask("watch", side, watched, written, watchers, writes)
        return [(first, last) for first, last in found]

    async def _ask(self, command: str, *arguments: object) -> Any:
        assert self._process is not None and self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
        line = await self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the driver ended"}
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")
        return answer


# --- inside the process ----------------------------------------------------------------------


async def connect(side: str, address: Address, method: str = PUT) -> Raftmesh | Etcd:
    return await Raftmesh.open(address) if side == "raftmesh" else await Etcd.open(address, method)


class Load:
    """Closed loops over one client; done() when `end`, or what was asked of it, is over."""

    def __init__(self, client: StoreClient, what: str, size: int) -> None:
        self._client = client
        self._what = what
        self._value = os.urandom(size)
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running = 0
        self.latencies: list[float] = []

    async def run(self, outstanding: int, seconds: float) -> Loaded:
        self._end = (began := time.perf_counter()) + seconds
        self._running = self._stride = outstanding
        for number in range(outstanding):
            self._ask(number)
        await self._done
        took = time.perf_counter() - began
        millis = [latency * 1e3 for latency in self.latencies]
        return Loaded(len(millis), len(millis) / took, percentile(millis, 0.5), percentile(millis, 0.99))

    def _ask(self, number: int) -> None:
        start = time.perf_counter()

        def answered(good: bool) -> None:
            now = time.perf_counter()
            if not good:
                if not self._done.done():
                    self._done.set_exception(RuntimeError(f"{self._what} {number} failed"))
                return
            self.latencies.append(now - start)
            if now < self._end:
                self._ask(number + self._stride)
            else:
                self._running -= 1
                if not self._running and not self._done.done():
                    self._done.set_result(None)

        if self._what == "put":
            self._client.put(number % KEYS, self._value, answered)
        else:
            self._client.read(number % KEYS, answered)


async def load(
    side: str, address: Address, what: str, size: int, outstanding: int, seconds: float
) -> dict[str, Any]:
    client = await connect(side, address, PUT if what == "put" else RANGE)
    found = await Load(client, what, size).run(outstanding, seconds)
    client.close()
    return asdict(found)


async def fill(side: str, address: Address, size: int, count: int) -> int:
    client, value = await connect(side, address), os.urandom(size)
    numbers = iter(range(count))

    async def writer() -> None:
        for number in numbers:
            await acknowledged(client, number, value)

    await asyncio.gather(*(writer() for _ in range(min(FILL_OUTSTANDING, count))))
    client.close()
    return count


async def acknowledged(client: StoreClient, number: int, value: bytes) -> None:
    """One put. Raises RuntimeError."""
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    client.put(number, value, done.set_result)
    if not await done:
        raise RuntimeError(f"put {number} failed")


async def watch(
    side: str, watched: Address, written: Address, watchers: int, writes: int
) -> list[tuple[float, float]]:
    clients = [await connect(side, watched, WATCH) for _ in range(watchers)]
    events: list[float] = []
    ready = asyncio.Semaphore(0)
    everybody = asyncio.Event()

    def event() -> None:
        events.append(time.perf_counter())
        if len(events) == watchers:
            everybody.set()

    for client in clients:
        client.watch(event, lambda good: ready.release())
    for _ in clients:
        await ready.acquire()
    writer, found = await connect(side, written), []
    for number in range(writes):
        events.clear()
        everybody.clear()
        began = time.perf_counter()
        await acknowledged(writer, number, b"x" * 1000)
        await everybody.wait()
        found.append(((events[0] - began) * 1e3, (events[-1] - began) * 1e3))
    for each in (*clients, writer):
        each.close()
    return found


COMMANDS: dict[str, Callable[..., Awaitable[object]]] = {"load": load, "fill": fill, "watch": watch}


async def serve() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        name, *arguments = json.loads(line)
        try:
            answer: object = await COMMANDS[name](*arguments)
        except Exception as error:  # the other process shows it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(serve())
