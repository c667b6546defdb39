"""The HTTP API of one worker on one core: reads, writes, lists, and watchers.

Worker and floor are servers of one process (api_server.py), asked in turn by the same cheap client
(http.py). The log is in memory, so writes tell what the API costs; `writes` tells what the log does.

    GET          one Dataplane among 10,000
    PUT          one MeshTimeout, decoded, validated, written, read back by the view
    list         all Dataplanes, in pages of 1,000, and one page of 100
    watch        a write that N watchers are told, until the last has it

Yardstick: the same request to a bare aiohttp handler that answers as many bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable

import uvloop

from bench.harness import Report, percentile
from bench.http import Connection, message

GET = "/meshes/default/dataplanes/dp-00007"
TIMEOUTS = "/meshes/default/meshtimeouts"
FLOOR = "a bare aiohttp handler"
CONNECTIONS = 16


def timeout(number: int) -> bytes:
    default = {"connectionTimeout": f"{1 + number % 50}s"}
    spec = {"targetRef": {"kind": "Mesh"}, "to": [{"targetRef": {"kind": "Mesh"}, "default": default}]}
    name = f"t{number % 100}"
    return json.dumps({"type": "MeshTimeout", "mesh": "default", "name": name, "spec": spec}).encode()


def put_timeout(number: int) -> bytes:
    return message("PUT", f"{TIMEOUTS}/t{number % 100}", timeout(number))


def run(report: Report) -> None:
    uvloop.run(_run(report))


async def _run(report: Report) -> None:
    dataplanes, seconds = (1_000, 0.3) if report.quick else (10_000, 3.0)
    async with servers(dataplanes) as (api, bare):
        body = await set_floor(api, bare, GET)
        report.figure("GET answer", len(body), "B")
        get, echo = message("GET", GET), message("GET", "/echo")
        await race(report, "GET", api, bare, lambda _: get, lambda _: echo, seconds)
        await race(
            report, "PUT", api, bare, put_timeout, lambda n: message("PUT", "/put", timeout(n)), seconds
        )
        await lists(report, api, bare, dataplanes)
        for watchers in (1, 100) if report.quick else (1, 100, 500):
            await fan_out(report, api, bare, watchers, 3 if report.quick else 10)


@contextlib.asynccontextmanager
async def servers(dataplanes: int) -> AsyncIterator[tuple[int, int]]:
    """The ports of the worker and of the bare handlers."""
    command = (sys.executable, "-m", "bench.api_server", str(dataplanes))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdout is not None and process.stdin is not None
    try:
        ports = json.loads(await process.stdout.readline())
        yield ports["api"], ports["bare"]
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 10.0)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def set_floor(api: int, bare: int, path: str) -> bytes:
    """Have the bare handler answer what the API does."""
    product, floor = await Connection.open(api), await Connection.open(bare)
    answer = await product.ask(message("GET", path))
    assert answer.status == 200, answer
    await floor.ask(message("PUT", "/echo", answer.body))
    product.close()
    floor.close()
    return answer.body


async def race(
    report: Report,
    name: str,
    api: int,
    bare: int,
    ours: Callable[[int], bytes],
    theirs: Callable[[int], bytes],
    seconds: float,
) -> None:
    """Latency on one connection and rate on several, of both servers in turn."""
    for connections in (1, CONNECTIONS):
        await load(api, ours, connections, seconds / 10)  # warm up
        floor, floor_rate = await load(bare, theirs, connections, seconds)
        found, rate = await load(api, ours, connections, seconds)
        report.figure(f"{name} x{connections} rate", rate, "1/s", floor_rate, FLOOR)
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            value, base = percentile(found, share) * 1e3, percentile(floor, share) * 1e3
            report.figure(f"{name} x{connections} {label}", value, "ms", base, FLOOR)


async def load(
    port: int, request: Callable[[int], bytes], connections: int, seconds: float
) -> tuple[list[float], float]:
    """(latencies in seconds, rate) of closed loops, one a connection."""
    opened = [await Connection.open(port) for _ in range(connections)]
    found: list[float] = []
    start = time.perf_counter()

    async def one(connection: Connection, number: int) -> None:
        while (asked := time.perf_counter()) - start < seconds:
            answer = await connection.ask(request(number))
            assert answer.status in (200, 201), answer
            found.append(time.perf_counter() - asked)
            number += connections

    await asyncio.gather(*(one(connection, number) for number, connection in enumerate(opened)))
    took = time.perf_counter() - start
    for connection in opened:
        connection.close()
    return found, len(found) / took


async def lists(report: Report, api: int, bare: int, dataplanes: int) -> None:
    for name, size, pages in (
        ("one page of 100", 100, 1),
        ("all, pages of 1,000", 1_000, dataplanes // 1_000),
    ):
        paths = [f"/meshes/default/dataplanes?size={size}&offset={size * n}" for n in range(pages)]
        body = await set_floor(api, bare, paths[0])
        taken = await _passes(api, [message("GET", path) for path in paths])
        floor = await _passes(bare, [message("GET", "/echo")] * pages)
        label = f"list {dataplanes} Dataplanes, {name}"
        report.figure(label, taken * 1e3, "ms", floor * 1e3, FLOOR)
        report.figure(f"{label}, bytes a page", len(body), "B")


async def _passes(port: int, requests: list[bytes], times: int = 5) -> float:
    """Median seconds of asking all of them one after the other."""
    connection = await Connection.open(port)
    found = []
    for _ in range(times):
        start = time.perf_counter()
        for request in requests:
            assert (await connection.ask(request)).status == 200
        found.append(time.perf_counter() - start)
    connection.close()
    return statistics.median(found)


async def fan_out(report: Report, api: int, bare: int, watchers: int, times: int) -> None:
    """A write until the last watcher has its event."""
    watch = message("GET", f"{TIMEOUTS}?watch=true&since={await _index(api)}")
    event, taken = await _told(api, watch, put_timeout, watchers, times)
    _, floor = await _told(
        bare, message("GET", "/watch"), lambda _: message("PUT", "/tell", event), watchers, times
    )
    label = f"watch, {watchers} watchers"
    report.figure(f"{label}, PUT to last event", taken * 1e3, "ms", floor * 1e3, FLOOR)
    report.figure(f"{label}, events", watchers / taken, "1/s", watchers / floor, FLOOR)


async def _index(api: int) -> int:
    connection = await Connection.open(api)
    answer = await connection.ask(message("GET", "/cluster"))
    connection.close()
    return int(json.loads(answer.body)["appliedIndex"])


async def _told(
    port: int, watch: bytes, write: Callable[[int], bytes], watchers: int, times: int
) -> tuple[bytes, float]:
    """(an event, median seconds until all have theirs)"""
    opened = [await Connection.open(port) for _ in range(watchers)]
    await asyncio.gather(*(connection.stream(watch) for connection in opened))
    writer = await Connection.open(port)
    found, event = [], b""
    for number in range(times + 1):
        start = time.perf_counter()
        waiting = asyncio.gather(*(connection.until(b"\n\n") for connection in opened))
        await writer.ask(write(number))
        event = (await waiting)[0]
        found.append(time.perf_counter() - start)
    for connection in (*opened, writer):
        connection.close()
    return event.partition(b"\r\n")[2] or event, statistics.median(found[1:])
