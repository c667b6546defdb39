"""What benchmarks share: the report, and the two yardsticks of this machine.

A figure alone says little: the machine may be slow or busy. So each is told as a ratio to
something simple measured in the same run (one fdatasync of the same size, one round trip
on loopback, a peer system), one line a figure:

    leader 200 B x16 writes: 5200 1/s, 1.8 x of fdatasync of 200 B

A benchmark is a module bench_NAME.py with `run(report)`.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
# Data lives on the disk that holds the checkout: /tmp may be memory, where a sync costs nothing.
SCRATCH = Path(__file__).parents[1] / "run"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. ratio: value divided by the yardstick that `of` names."""

    name: str
    value: float
    unit: str
    ratio: float | None = None
    of: str = ""

    def line(self) -> str:
        ratio = f", {digits(self.ratio)} x of {self.of}" if self.ratio is not None else ""
        return f"{self.name}: {digits(self.value)} {self.unit}{ratio}"


class Report:
    """Prints each figure as it comes; save() writes all to bench/results/NAME.json."""

    def __init__(self, name: str, *, quick: bool = False, results: Path = RESULTS) -> None:
        self.name = name
        self._results = results
        self.quick = quick
        self.figures: list[Figure] = []
        self.notes: list[str] = []

    def figure(self, name: str, value: float, unit: str, base: float | None = None, of: str = "") -> Figure:
        """base: the yardstick's value, in the same unit."""
        made = Figure(name, value, unit, value / base if base else None, of)
        self.figures.append(made)
        print(made.line(), flush=True)
        return made

    def note(self, text: str) -> None:
        """What a reader must know to judge the figures."""
        self.notes.append(text)
        print(f"# {text}", flush=True)

    def beside(self, name: str) -> Path:
        """Where another file of this run belongs, e.g. a chart."""
        self._results.mkdir(exist_ok=True)
        return self._results / f"{self.name}-{name}"

    def save(self) -> Path:
        self._results.mkdir(exist_ok=True)
        path = self._results / f"{self.name}.json"
        machine = {
            "cpus": os.cpu_count(),
            "load": os.getloadavg()[0],
            "python": platform.python_version(),
            "system": platform.platform(),
        }
        content = {
            "name": self.name,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine,
            "notes": self.notes,
            "figures": [asdict(figure) for figure in self.figures],
        }
        path.write_text(json.dumps(content, indent=2) + "\n")
        return path


def digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"


def cpu_s(pid: int) -> float:
    """Seconds that the threads of a process have been on a CPU, to the nanosecond: the ticks of
    /proc/PID/stat miss work that is shorter than one."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def scratch_directory() -> tempfile.TemporaryDirectory[str]:
    SCRATCH.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH)


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Seconds of each of `times` runs."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return found


def fdatasync_s(directory: Path, size_bytes: int, times: int = 100) -> float:
    """Median seconds of one append of `size_bytes` and its fdatasync, in `directory`."""
    fd, path = tempfile.mkstemp(dir=directory)
    data = os.urandom(size_bytes)

    def once() -> None:
        os.write(fd, data)
        os.fdatasync(fd)

    try:
        return statistics.median(timed(once, times))
    finally:
        os.close(fd)
        os.unlink(path)


# argv: certificate and key to speak TLS with, or none for plain TCP.
_ECHO = """
import socket, ssl, sys
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
c, _ = s.accept()
c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
if len(sys.argv) > 2:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(sys.argv[1], sys.argv[2])
    c = tls.wrap_socket(c, server_side=True)
while data := c.recv(65536):
    c.sendall(data)
"""


def round_trip_s(size_bytes: int, times: int = 300) -> float:
    """Median seconds of one echo of `size_bytes` by another process over loopback TCP."""
    return _echo_s(size_bytes, times, (), None)


def tls_round_trip_s(size_bytes: int, cert_path: str, key_path: str, ca_path: str, times: int = 300) -> float:
    """The same over TLS; the handshake is not counted. The certificate must name 127.0.0.1."""
    return _echo_s(size_bytes, times, (cert_path, key_path), ssl.create_default_context(cafile=ca_path))


def _echo_s(size_bytes: int, times: int, arguments: tuple[str, ...], tls: ssl.SSLContext | None) -> float:
    command = [sys.executable, "-c", _ECHO, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        wire = socket.create_connection(("127.0.0.1", port))
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            wire = tls.wrap_socket(wire, server_hostname="127.0.0.1")
        with wire:
            data = os.urandom(size_bytes)

            def once() -> None:
                wire.sendall(data)
                left = size_bytes
                while left:
                    left -= len(wire.recv(left))

            found = statistics.median(timed(once, times))
        process.wait(5)
    return found
