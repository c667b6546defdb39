"""One mesh of the xDS benchmark, measured: `python -m bench.xds_cell SERVICES PROXIES`.

This process is the control plane (source and ADS server on gRPC, as in production but without TLS,
tokens and registration), so its CPU time and its memory are those of the product; the proxies live in
processes of their own (envoys.py). All times are taken here: from the new view to the last ACK. The
result is one JSON document on stdout.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvloop

from bench.authority import Authority
from bench.bareserver import BareServer
from bench.bench_derive import MESH
from bench.envoys import FEATURES, open_many_files
from bench.harness import percentile
from bench.meshes import JOINING, Mesh
from cp.collector import resident_bytes, tame
from xds.config.limits import LINGER_S
from xds.config.source import Source
from xds.effects import Acked, Effect, Nacked, Send
from xds.server import AdsServer
from xds.source import NodeInfo
from xds.stream import Stream

QUIET_S = 0.05  # nothing in flight for this long: it was the last ACK
STORM_QUIET_S = 2.0  # longer than removals wait on a new stream (xds.limits.RESUME_WAIT_S)
LOOK_S = 0.005  # how often the loop is asked whether it still turns
TIMEOUT_S = 240.0
ROUNDS = {"endpoint": 100, "route": 9, "mesh-wide policy": 3, "CA rotation": 3}
SECRETS = (f"identity_cert:secret:{MESH}", f"mesh_ca:secret:{MESH}")


@dataclass
class Meter:
    """Observes all streams. Since `reset`: opened; sent, (proxy, bytes) of each response; acked_at, when each
    was answered. last_at: when the last stream was opened or response answered."""

    streams: set[Stream] = field(default_factory=set)
    opened: int = 0
    in_flight: int = 0
    resources: int = 0
    rejected: int = 0
    last_at: float = 0.0
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    acked_at: list[float] = field(default_factory=list)

    def reset(self) -> None:
        self.opened, self.resources, self.sent, self.acked_at = 0, 0, [], []

    def stream_opened(self, stream: Stream) -> None:
        self.streams.add(stream)
        self.opened += 1
        self.last_at = time.perf_counter()

    def stream_effect(self, stream: Stream, effect: Effect) -> None:
        if isinstance(effect, Send):
            assert stream.node is not None
            self.in_flight += 1
            self.resources += len(effect.names)
            self.sent.append((stream.node.id, effect.data))
        elif isinstance(effect, Acked | Nacked):
            self.in_flight -= 1
            self.rejected += isinstance(effect, Nacked)
            self.last_at = time.perf_counter()
            self.acked_at.append(self.last_at)

    def stream_closed(self, stream: Stream) -> None:
        self.streams.discard(stream)
        self.in_flight -= stream.status.sent - stream.status.acked - stream.status.rejected

    def presented(self) -> int:
        """Resources that the proxies said they have when they came."""
        types = (each for stream in self.streams for each in stream.status.types.values())
        return sum(each.presented for each in types)

    def bytes_sent(self) -> int:
        return sum(len(data) for _, data in self.sent)


class Turns:
    """The longest time that the loop computed, since `reset`, without a turn for anything else."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.reset()
        self._look()

    def reset(self) -> None:
        self.longest_s, self._at = 0.0, time.thread_time()

    def _look(self) -> None:
        now = time.thread_time()
        self.longest_s, self._at = max(self.longest_s, now - self._at), now
        self._timer = self._loop.call_later(LOOK_S, self._look)

    def stop(self) -> None:
        self._timer.cancel()


class Cell:
    """A mesh, its server and its proxies."""

    def __init__(self, services: int, proxies: int) -> None:
        self.proxies = proxies
        self.mesh = Mesh(services, proxies)
        self.meter = Meter()
        self.found: dict[str, Any] = {}

    async def run(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        tame(loop)
        self.authority = Authority()
        self.source = Source(
            self.mesh.view,
            identities=self.authority,
            later=loop.call_soon,
            linger=partial(loop.call_later, LINGER_S),
        )
        self.turns = Turns()
        server, self.bare = AdsServer(self.source, None, [self.meter]), BareServer()
        before_bytes = resident_bytes()
        load = await start_load(await server.start("127.0.0.1:0"), f"{MESH}.dp-", *SECRETS)
        bare_load = await start_load(await self.bare.start(), "bare-", "--ack-only")
        try:
            self.found["connect all"] = await self._measured(lambda: tell(load, f"connect 0 {self.proxies}"))
            gc.collect()
            self.found["memory"] = (resident_bytes() - before_bytes) / self.proxies
            self.meter.reset()
            tell(bare_load, f"connect 0 {self.proxies}")
            await self.bare.opened(self.proxies)
            for kind, rounds in ROUNDS.items():
                self.found[kind] = await self._changes(kind, rounds)
            joined = [await self._join(load, bare_load) for _ in range(JOINING)]
            self.found["joining proxy"] = medians(joined)
            self.found["full rebuild"] = self._rebuild()
            self.found["reconnect storm"] = await self._measured(lambda: tell(load, "reconnect"), storm=True)
            self.found["presented"] = self.meter.presented()
            self.found["rejected"] = self.meter.rejected
            self.found["proxies"] = self.proxies
        finally:
            for process in (load, bare_load):
                process.kill()
                await process.wait()
            await self.bare.stop()
            await server.stop(0)
            self.turns.stop()
        return self.found

    async def _changes(self, kind: str, rounds: int) -> dict[str, float]:
        """The medians of several changes of one kind; the first, which fills caches, not counted. ack_p99_s:
        of all proxies that were told, in all rounds; longest_s: the longest turn of all rounds."""

        def move(number: int) -> None:
            if kind == "CA rotation":
                self.authority.rotate()
            else:
                changes = self.mesh.change(kind, number)
                self.source.advance(self.mesh.view, changes)

        await self._measured(lambda: move(0))
        found: list[dict[str, float]] = []
        ours: list[float] = []
        floor: list[float] = []
        for number in range(1, rounds + 1):
            measured = await self._measured(partial(move, number))
            ours += [at - self.started_at for at in self.meter.acked_at]
            found.append(await self._with_floor(measured))
            floor += self.bare.ack_s
        return medians(found) | {
            "longest_s": max(each["longest_s"] for each in found),
            "ack_p99_s": percentile(ours, 0.99),
            "floor_ack_p99_s": percentile(floor, 0.99),
        }

    async def _join(self, load: Process, bare_load: Process) -> dict[str, float]:
        """One more proxy; the floor is that of a client that connects to the bare server and gets the same."""
        command = f"connect {self.proxies} {self.proxies + 1}"
        self.proxies += 1
        found = await self._measured(lambda: tell(load, command))
        connected_s, connected_cpu_s = await self.bare.joined(lambda: tell(bare_load, command))
        messages = [(self.proxies - 1, data) for _, data in self.meter.sent]
        sent_s, sent_cpu_s = await self.bare.send(messages)
        return found | {"floor_s": connected_s + sent_s, "floor_cpu_s": connected_cpu_s + sent_cpu_s}

    async def _measured(self, act: Callable[[], None], *, storm: bool = False) -> dict[str, float]:
        """Do something, wait for the last ACK; seconds, CPU seconds, bytes, resources, runs, the longest turn."""
        self.meter.reset()
        self.turns.reset()
        self.source.engine.runs.clear()
        self.started_at = start = time.perf_counter()
        cpu = time.process_time()
        act()
        if storm:  # the first are back before the last are gone
            await self._until(lambda: self.meter.opened == self.proxies)
        await self._until(lambda: len(self.meter.streams) == self.proxies)
        await self._quiet(STORM_QUIET_S if storm else QUIET_S)
        return {
            "s": max(self.meter.last_at, start) - start,
            "cpu_s": time.process_time() - cpu,
            "bytes": self.meter.bytes_sent(),
            "resources": self.meter.resources,
            "runs": sum(self.source.engine.runs.values()),
            "longest_s": self.turns.longest_s,
            "proxies": len({proxy for proxy, _ in self.meter.sent}),
        }

    async def _with_floor(self, found: dict[str, float]) -> dict[str, float]:
        """Add what the bare server needs for the same bytes to as many streams."""
        numbers = {proxy: n for n, proxy in enumerate(dict.fromkeys(proxy for proxy, _ in self.meter.sent))}
        messages = [(numbers[proxy], data) for proxy, data in self.meter.sent]
        found["floor_s"], found["floor_cpu_s"] = await self.bare.send(messages)
        return found

    def _rebuild(self) -> dict[str, float]:
        """Derive everything for everybody from the same view, as one who keeps nothing must."""
        fresh, cpu = Source(self.mesh.view), time.process_time()
        for number in range(self.proxies):
            node = NodeInfo(f"{MESH}.dp-{number}", "bench", {"features": FEATURES})
            fresh.connect(node, lambda deltas: None)
        return {"cpu_s": time.process_time() - cpu, "runs": sum(fresh.engine.runs.values())}

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await asyncio.sleep(0.002)

    async def _quiet(self, quiet_s: float) -> None:
        """Until everything is derived, sent and acknowledged, and stays so."""
        since = time.perf_counter()
        async with asyncio.timeout(TIMEOUT_S):
            while time.perf_counter() - since < quiet_s:
                await asyncio.sleep(0.01)
                if self.meter.in_flight or not self.source.settled:
                    since = time.perf_counter()


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


async def start_load(port: int, prefix: str, *arguments: str) -> Process:
    command = ("-m", "bench.envoys", str(port), prefix, *arguments)
    return await asyncio.create_subprocess_exec(sys.executable, *command, stdin=PIPE)


def tell(load: Process, command: str) -> None:
    assert load.stdin is not None
    load.stdin.write(command.encode() + b"\n")


if __name__ == "__main__":
    open_many_files()
    print(json.dumps(uvloop.run(Cell(int(sys.argv[1]), int(sys.argv[2])).run())))
