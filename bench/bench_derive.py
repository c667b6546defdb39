"""Derivation: what a change costs, from the new view to the deltas of all proxies it concerns.

One mesh of S services and P proxies, each proxy the client of all services through transparent
proxying. No network, no store: the source alone, in one process, on one core.

    connect    a proxy opens its stream: the first pays for what all share, the next for its own
    endpoint   one Dataplane moves to another port: one assignment, told to all proxies
    own        one proxy's Dataplane gets another inbound port: its own listener
    status     an event that changes nothing for proxies (a counter): told to nobody
    policy     a MeshTimeout for one service: one cluster, one listener
    mesh-wide  a MeshTimeout for all services: S clusters and listeners, told to all proxies

Yardstick: deriving one proxy from nothing, which is what a control plane pays per proxy and change
that regenerates instead of knowing what depends on what.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bench.harness import Report, percentile
from mesh.codec import decode
from mesh.resource import Resource
from mesh.view import View
from xds.config.source import Source
from xds.source import NodeInfo
from xds.types import Delta

MESH = "bench"
TRANSPARENT = {"redirectPortInbound": 15006, "redirectPortOutbound": 15001}


def resource(document: dict[str, Any]) -> Resource:
    found = decode(document)
    labels = {"kuma.io/display-name": found.name, "kuma.io/zone": "zone", "kuma.io/origin": "zone"}
    return replace(found, labels=labels if found.kind != "Mesh" else {})


def address(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def dataplane(number: int, services: int, port: int = 8080) -> Resource:
    tags = {"kuma.io/service": f"s{number % services}", "kuma.io/protocol": "http"}
    networking = {
        "address": address(number),
        "inbound": [{"port": port, "tags": tags}],
        "transparentProxying": TRANSPARENT,
    }
    return resource({"type": "Dataplane", "mesh": MESH, "name": f"dp-{number}", "networking": networking})


def service(number: int, total: int = 0) -> Resource:
    name = f"s{number}"
    spec = {
        "selector": {"dataplaneTags": {"kuma.io/service": name}},
        "ports": [{"port": 8080, "targetPort": 8080, "appProtocol": "http"}],
    }
    status = {"vips": [{"ip": f"241.0.{number >> 8}.{number & 255}"}], "dataplaneProxies": {"total": total}}
    return resource({"type": "MeshService", "mesh": MESH, "name": name, "spec": spec, "status": status})


def timeout(name: str, kind: str, seconds: int) -> Resource:
    target = {"kind": "Mesh"} if kind == "Mesh" else {"kind": "MeshService", "name": kind}
    to = [{"targetRef": target, "default": {"connectionTimeout": f"{seconds}s"}}]
    return resource({"type": "MeshTimeout", "mesh": MESH, "name": name, "spec": {"to": to}})


class World:
    """A source with connected proxies, and the view that it follows."""

    def __init__(self, services: int, proxies: int) -> None:
        self.services = services
        settings = {"type": "Mesh", "name": MESH, "meshServices": {"mode": "Exclusive"}}
        self.view = View.of(
            [
                resource(settings),
                *(service(n) for n in range(services)),
                *(dataplane(n, services) for n in range(proxies)),
            ]
        )
        self.source = Source(self.view)
        self.told = 0

    def connect(self, number: int) -> float:
        """Seconds until a proxy has its snapshot."""
        start = time.perf_counter()
        stream = self.source.connect(NodeInfo(f"{MESH}.dp-{number}"), self._hear)
        assert stream.snapshot()
        return time.perf_counter() - start

    def _hear(self, deltas: Sequence[Delta]) -> None:
        self.told += 1

    def put(self, *resources: Resource) -> float:
        """Seconds from the event to the last delta; reading the log and moving the view excluded."""
        view, changes = self.view.with_changes(self.view.index + 1, ((r.key, r) for r in resources))
        self.view = view
        self.told = 0
        start = time.perf_counter()
        self.source.advance(view, changes)
        return time.perf_counter() - start


def from_nothing(world: World) -> float:
    """Seconds to derive one proxy with an empty memory."""
    fresh = Source(world.view)
    start = time.perf_counter()
    fresh.connect(NodeInfo(f"{MESH}.dp-0"), lambda deltas: None)
    return time.perf_counter() - start


def run(report: Report) -> None:
    sizes = [(50, 20)] if report.quick else [(100, 100), (1000, 1000)]
    for services, proxies in sizes:
        measure(report, services, proxies)


def measure(report: Report, services: int, proxies: int) -> None:
    world = World(services, proxies)
    cell = f"{services} services, {proxies} proxies"
    first = world.connect(0)
    whole = statistics.median(from_nothing(world) for _ in range(3))
    gc.collect()
    gc.freeze()
    of = "one proxy from nothing"
    report.figure(f"{cell}: one proxy from nothing", whole * 1e3, "ms")
    report.figure(f"{cell}: connect first", first * 1e3, "ms", whole * 1e3, of)
    later = [world.connect(n) for n in range(1, proxies)]
    report.figure(f"{cell}: connect next, median", statistics.median(later) * 1e3, "ms", whole * 1e3, of)
    changes: dict[str, Callable[[int], tuple[Resource, ...]]] = {
        "endpoint": lambda n: (dataplane(services - 1, services, 8080 + (n & 1)),),
        "own": lambda n: (replace_inbound(proxies - 1, services, n),),
        "status": lambda n: (service(n % services, total=n + 1),),
        "policy": lambda n: (timeout("one", "s7", n + 1),),
        "mesh-wide": lambda n: (timeout("all", "Mesh", n + 1),),
    }
    for name, make in changes.items():
        times = 3 if name == "mesh-wide" else 15
        world.put(*make(1000))
        world.source.engine.runs.clear()
        taken = [world.put(*make(n)) for n in range(times)]
        runs = sum(world.source.engine.runs.values()) / times
        label = f"{cell}: {name}"
        report.figure(f"{label}, median", statistics.median(taken) * 1e3, "ms", whole * 1e3, of)
        report.figure(f"{label}, worst", percentile(taken, 0.99) * 1e3, "ms")
        report.figure(f"{label}, derivations run", runs, "")
        report.figure(f"{label}, proxies told", world.told, "")
    report.figure(f"{cell}: results kept", len(world.source.engine), "")
    gc.unfreeze()


def replace_inbound(number: int, services: int, turn: int) -> Resource:
    return dataplane(number, services, 9000 + turn)
