"""From the PUT of a change to the ACK of a real Envoy, through three real replicas.

Three Envoys, one at each replica, are clients of one service. A change is written through the
leader or through a follower, one after the other; the next begins when all three Envoys have
acknowledged. Told for each: the write's own acknowledgement (fsynced by a majority), when the new
resource left the control plane, and when Envoy's ACK came back, for the nearest and the last of
the three. Between each Envoy and its replica is a tap (tap.py) that notes messages as they pass,
to the microsecond, and adds one TLS hop in each direction.

    endpoint   a Dataplane of the service moves to another port: one ClusterLoadAssignment
    route      a MeshHTTPRoute sets another header: one RouteConfiguration

Yardsticks, measured before each cell: one fdatasync of the size of the document, and one loopback
round trip over TLS of that size. A change needs at least one fdatasync and, to be known by Envoy,
four messages one after the other: request, replication and its answer, response.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop
import yaml

from bench.harness import Report, fdatasync_s, percentile, scratch_directory, tls_round_trip_s
from bench.tap import Tap
from cp.up.client import Api
from cp.up.local import MESH, LocalMesh, Replica, dataplane
from cp.up.processes import Process, python
from cp.up.story import until
from dp.ports import free_ports
from xds.types import ENDPOINT, ROUTE

BACKEND = "backend-bench"
Document = Callable[[int], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Client:
    """One Envoy, and the tap between it and its replica."""

    tap: Tap
    process: Process


@dataclass(frozen=True, slots=True)
class Sample:
    """One change; seconds since its PUT was begun. sent and acked: one value an Envoy, sorted."""

    written: float
    sent: list[float]
    acked: list[float]


def endpoint(number: int) -> dict[str, Any]:
    return dataplane(BACKEND, "backend", "v1", 20000 + number % 1000, 8080, None)


def route(number: int) -> dict[str, Any]:
    header = {"set": [{"name": "x-bench", "value": str(number)}]}
    filters = [{"type": "RequestHeaderModifier", "requestHeaderModifier": header}]
    rule = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "default": {"filters": filters}}
    to = [{"targetRef": {"kind": "MeshService", "name": "backend"}, "rules": [rule]}]
    spec = {"targetRef": {"kind": "Mesh"}, "to": to}
    return {"type": "MeshHTTPRoute", "mesh": MESH, "name": "bench", "spec": spec}


CHANGES: dict[str, tuple[str, str, Document]] = {
    "endpoint": (f"/meshes/{MESH}/dataplanes/{BACKEND}", ENDPOINT, endpoint),
    "route": (f"/meshes/{MESH}/meshhttproutes/bench", ROUTE, route),
}


def run(report: Report) -> None:
    uvloop.run(_run(report))


async def _run(report: Report) -> None:
    samples = 10 if report.quick else 200
    with scratch_directory() as scratch:
        mesh = LocalMesh(Path(scratch) / "mesh", ports=free_ports(LocalMesh.PORTS))
        clients: list[Client] = []
        async with Api() as api:
            try:
                await _start_replicas(mesh, api)
                await api.put(mesh.replicas[0].api, CHANGES["endpoint"][0], endpoint(0))
                await api.put(mesh.replicas[0].api, CHANGES["route"][0], route(0))
                for number, replica in enumerate(mesh.replicas):
                    clients.append(await _start_client(mesh, api, replica, number))
                await _measure(report, mesh, api, [client.tap for client in clients], samples)
            finally:
                for client in clients:
                    await client.process.stop()
                    await client.tap.stop()
                await mesh.stop()


async def _start_replicas(mesh: LocalMesh, api: Api) -> None:
    for replica in mesh.replicas:
        await replica.process.start()

    async def ready() -> bool:
        return all([await api.ready(replica.api) for replica in mesh.replicas])

    async def mesh_exists() -> bool:
        return all([await _has_mesh(api, replica) for replica in mesh.replicas])

    await until("all replicas are ready", ready)
    await until("the default mesh exists everywhere", mesh_exists)


async def _has_mesh(api: Api, replica: Replica) -> bool:
    return any(item["name"] == MESH for item in (await api.get(replica.api, "/meshes"))["items"])


async def _start_client(mesh: LocalMesh, api: Api, replica: Replica, number: int) -> Client:
    """An Envoy behind a tap at `replica`; returns when it has acknowledged its first routes."""
    certificates, name = mesh.directory / "ca", f"client-{number}"
    tap = Tap(
        replica.cp,
        str(certificates / f"{replica.name}.pem"),
        str(certificates / f"{replica.name}.key"),
        str(mesh.ca_path),
    )
    await tap.start()
    inbound, outbound = free_ports(2)
    path, token_path = mesh.directory / f"{name}.yaml", mesh.directory / f"{name}.token"
    path.write_text(yaml.safe_dump(dataplane(name, "client", "v1", inbound, 8080, outbound)))
    token_path.write_text(await api.dataplane_token(replica.api, MESH, name))
    command = python("cp.cli", "dp", "run", "--dataplane-file", str(path), "--cp-address", tap.address)
    command += ["--ca-cert-file", str(mesh.ca_path), "--dataplane-token-file", str(token_path)]
    command += ["--work-dir", str(mesh.directory / f"{name}-proxy"), "--concurrency", "1"]
    command += ["--drain-time", "1s"]
    process = Process(name, command, mesh.directory / "logs" / f"{name}.log")
    await process.start()
    try:
        await tap.acked(ROUTE, since=0.0)
    except TimeoutError:
        raise RuntimeError(f"{name} did not get its routes: {process.log_tail()}") from None
    return Client(tap, process)


async def _measure(report: Report, mesh: LocalMesh, api: Api, taps: list[Tap], samples: int) -> None:
    leader = await api.leader([replica.api for replica in mesh.replicas])
    writers = {
        "leader": next(replica for replica in mesh.replicas if replica.name == leader),
        "follower": next(replica for replica in mesh.replicas if replica.name != leader),
    }
    report.note(f"{samples} changes a cell, one at a time; the taps add a TLS hop in each direction")
    number = 1
    for role, replica in writers.items():
        for kind in CHANGES:
            await _changes(api, replica, kind, taps, number, 5)  # the first few warm caches
            sync_s, trip_s = _yardsticks(mesh, len(json.dumps(CHANGES[kind][2](number))))
            found = await _changes(api, replica, kind, taps, number + 5, samples)
            number += samples + 5
            _tell(report, f"{kind} via {role}", found, sync_s, trip_s)


def _yardsticks(mesh: LocalMesh, size_bytes: int) -> tuple[float, float]:
    """Seconds of one fdatasync and of one TLS round trip."""
    certificates = mesh.directory / "ca"
    name = mesh.replicas[0].name
    trip_s = tls_round_trip_s(
        size_bytes, str(certificates / f"{name}.pem"), str(certificates / f"{name}.key"), str(mesh.ca_path)
    )
    return fdatasync_s(mesh.directory, size_bytes), trip_s


async def _changes(
    api: Api, replica: Replica, kind: str, taps: list[Tap], first: int, count: int
) -> list[Sample]:
    path, type_url, document = CHANGES[kind]
    found = []
    for number in range(first, first + count):
        start = time.perf_counter()
        await api.put(replica.api, path, document(number))
        written = time.perf_counter() - start
        exchanges = await asyncio.gather(*(tap.acked(type_url, start) for tap in taps))
        assert not any(exchange.rejected for exchange in exchanges), "an Envoy rejected the change"
        sent = sorted(exchange.sent_at - start for exchange in exchanges)
        acked = sorted(exchange.answered_at - start for exchange in exchanges)
        found.append(Sample(written, sent, acked))
    return found


def _tell(report: Report, name: str, found: list[Sample], sync_s: float, trip_s: float) -> None:
    report.figure(f"{name} yardstick, fdatasync", sync_s * 1e3, "ms")
    report.figure(f"{name} yardstick, TLS round trip", trip_s * 1e3, "ms")
    floor_ms, floor = (sync_s + trip_s) * 1e3, "one fdatasync and one TLS round trip"
    series = {
        "PUT answered": [each.written for each in found],
        "first response leaves": [each.sent[0] for each in found],
        "first Envoy ACK": [each.acked[0] for each in found],
        "last of 3 Envoy ACKs": [each.acked[-1] for each in found],
        "last ACK after the PUT's answer": [max(0.0, each.acked[-1] - each.written) for each in found],
    }
    for what, seconds in series.items():
        for label, share in (("p50", 0.5), ("p99", 0.99)):
            value_ms = percentile(seconds, share) * 1e3
            report.figure(f"{name}: {what} {label}", value_ms, "ms", floor_ms, floor)
