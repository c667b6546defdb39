"""xDS: what a change costs from the new view to the last ACK, in meshes of several sizes.

Each size is a control plane in a process of its own (xds_cell.py) with fake Envoys in another
(envoys.py), one connection each. Told for each kind of change: derivations run, proxies and bytes sent
to, CPU of the control plane, time to the last ACK.

    endpoint           an instance of a service with 20 clients moves to another address
    route              a MeshHTTPRoute of that service sets another header
    mesh-wide policy   a MeshTimeout for all services and proxies
    CA rotation        everybody gets new roots and a new certificate (authority.py)
    joining proxy      one more proxy connects and gets everything (the floor's client connects, too)
    reconnect storm    all connections break; all proxies come back at once with what they have

Yardsticks, of the same run: a full rebuild (a fresh source derives all proxies from the same view; what it
would send is what connecting all for the first time sent), and the floor: the same bytes to as many streams
from a bare gRPC server, until the last ACK.

The growth figures at the end compare the endpoint change between the first and each other size; its
service has 20 clients in all of them, so anything much above 1 would be a cost of the state.
Left out: TLS, tokens, registration (see `ack`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from bench.harness import Report
from bench.plot import chart

# (services, proxies). RAFTMESH_BENCH_XDS="1000x5000,..." measures others.
SIZES = ((10, 100), (100, 1000), (1000, 2000), (1000, 5000))
QUICK = ((10, 50), (100, 50))
VARIABLE = "RAFTMESH_BENCH_XDS"
TIMEOUT_S = 900.0
Measured = dict[str, Any]


def sizes(quick: bool, chosen: str) -> list[tuple[int, int]]:
    """What to measure; `chosen` is "SERVICESxPROXIES,..." or empty. Raises ValueError."""
    if not chosen:
        return list(QUICK if quick else SIZES)
    found = []
    for each in chosen.split(","):
        services, _, proxies = each.partition("x")
        if not (services.isdecimal() and proxies.isdecimal() and int(services) > 1 and int(proxies) > 20):
            raise ValueError(f"{VARIABLE}: {each!r} must be SERVICESxPROXIES, above 1 and 20, like 1000x5000")
        found.append((int(services), int(proxies)))
    return found


def run(report: Report) -> None:
    cells: list[tuple[str, Measured]] = []
    for services, proxies in sizes(report.quick, os.environ.get(VARIABLE, "")):
        name = f"{services} services, {proxies} proxies"
        found = measure(services, proxies)
        tell(report, name, found)
        cells.append((name, found))
    growth(report, cells)


def measure(services: int, proxies: int) -> Measured:
    """One cell in a process of its own, so that memory and CPU are its alone."""
    command = [sys.executable, "-m", "bench.xds_cell", str(services), str(proxies)]
    # gRPC otherwise comments on the start of child processes.
    environment = {**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, timeout=TIMEOUT_S, check=True, env=environment, text=True
    )
    measured: Measured = json.loads(done.stdout)
    return measured


def tell(report: Report, cell: str, found: Measured) -> None:
    rebuild = found["full rebuild"]
    report.figure(f"{cell}: full rebuild, CPU", rebuild["cpu_s"] * 1e3, "ms")
    report.figure(f"{cell}: full rebuild, derivations", rebuild["runs"], "")
    for kind in ("endpoint", "route", "mesh-wide policy", "CA rotation", "joining proxy"):
        change(report, f"{cell}: {kind}", found[kind], rebuild, found["connect all"]["bytes"])
    everything = found["connect all"]
    report.figure(f"{cell}: connect all", everything["s"], "s")
    report.figure(f"{cell}: connect all, bytes", everything["bytes"], "B")
    report.figure(f"{cell}: memory per proxy", found["memory"] / 1e3, "kB")
    storm, of = found["reconnect storm"], "that of connecting all for the first time"
    report.figure(f"{cell}: reconnect storm", storm["s"], "s", everything["s"], of)
    report.figure(f"{cell}: reconnect storm, CPU", storm["cpu_s"], "s", everything["cpu_s"], of)
    report.figure(
        f"{cell}: reconnect storm, longest turn of the loop, computing", storm["longest_s"] * 1e3, "ms"
    )
    report.figure(f"{cell}: reconnect storm, bytes sent", storm["bytes"], "B")
    report.figure(f"{cell}: reconnect storm, resources sent again", storm["resources"], "")
    report.figure(f"{cell}: reconnect storm, resources presented", found["presented"], "")
    report.figure(f"{cell}: responses rejected", found["rejected"], "")


def change(report: Report, name: str, found: Measured, rebuild: Measured, everything_bytes: int) -> None:
    report.figure(f"{name}, derivations", found["runs"], "", rebuild["runs"], "a full rebuild")
    report.figure(f"{name}, proxies told", found["proxies"], "")
    report.figure(
        f"{name}, bytes", found["bytes"], "B", everything_bytes, "everything, as a rebuild sends it"
    )
    cpu_ms, floor = found["cpu_s"] * 1e3, "the bare server"
    report.figure(f"{name}, CPU", cpu_ms, "ms", rebuild["cpu_s"] * 1e3, "a full rebuild")
    report.figure(f"{name}, CPU over floor", cpu_ms, "ms", found["floor_cpu_s"] * 1e3, floor)
    report.figure(f"{name}, last ACK", found["s"] * 1e3, "ms", found["floor_s"] * 1e3, floor)
    derived_ms = rebuild["cpu_s"] * 1e3
    report.figure(
        f"{name}, last ACK over rebuild", found["s"] * 1e3, "ms", derived_ms, "deriving all, unsent"
    )
    report.figure(f"{name}, longest turn of the loop, computing", found["longest_s"] * 1e3, "ms")
    if "ack_p99_s" in found:
        p99_ms, floor_ms = found["ack_p99_s"] * 1e3, found["floor_ack_p99_s"] * 1e3
        report.figure(f"{name}, ACK p99 of the proxies told", p99_ms, "ms", floor_ms, floor)


def growth(report: Report, cells: list[tuple[str, Measured]]) -> None:
    """How one endpoint change costs more where the mesh is larger; also as a chart."""
    first_name, first = cells[0]
    for name, found in cells[1:]:
        for what, unit, scale in (("runs", "", 1.0), ("bytes", "B", 1.0), ("cpu_s", "ms", 1e3)):
            value, base = found["endpoint"][what] * scale, first["endpoint"][what] * scale
            label = {"runs": "derivations", "bytes": "bytes", "cpu_s": "CPU"}[what]
            report.figure(f"growth of endpoint, {label}, {name}", value, unit, base, first_name)
    for kind in ("endpoint", "route"):
        series: dict[str, list[tuple[float, float]]] = {"derivations": [], "CPU, ms": [], "bytes, kB": []}
        for _, found in cells:
            one = found[kind]
            for label, value in zip(
                series, (one["runs"], one["cpu_s"] * 1e3, one["bytes"] / 1e3), strict=True
            ):
                series[label].append((found["proxies"], value))
        title = f"One {kind} change, told to 20 proxies, in meshes of several sizes"
        chart(report.beside(f"growth-{kind}.svg"), title, "proxies in the mesh", "", series)
