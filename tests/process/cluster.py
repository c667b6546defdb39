"""A cluster of real store processes on loopback, over mutual TLS. For tests and benchmarks.

    with Cluster(tmp_path, 3) as cluster:
        cluster.start()
        leader = await cluster.leader()
        await leader.store.submit(...)
        cluster["n2"].kill()

Every wait has a deadline, and a failed one shows the end of each process's log.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from dp.ports import free_ports
from raftstore.certs import create_ca, issue
from raftstore.client import SocketStore
from raftstore.errors import StoreError, Unavailable
from raftstore.port import Status
from raftstore.types import Outcome, Txn

DEADLINE_S = 30.0
ROOT = Path(__file__).parents[2]


class Timeout(AssertionError):
    """A condition did not come true in time."""


class StoreProcess:
    """One replica's process. `settings` go into its StoreConfig."""

    module = "raftstore.store_process"

    def __init__(self, node_id: str, root: Path, settings: dict[str, Any]) -> None:
        self.id = node_id
        self.root = root
        self.settings = settings
        self.log_path = root / f"{node_id}.log"
        self.data_dir = Path(settings["data_dir"])
        self.process: subprocess.Popen[bytes] | None = None
        self.store = SocketStore(settings["socket_path"])

    @property
    def port(self) -> int:
        return int(self.settings["listen"].rsplit(":")[-1])

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, **changed: Any) -> None:
        """Start, or start again. The log is appended to."""
        assert not self.running, f"{self.id} runs already"
        config = json.dumps(self.settings | changed)
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "--config-json", config],
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, within_s: float = DEADLINE_S) -> int:
        """SIGTERM; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait(within_s)

    def wait(self, within_s: float = DEADLINE_S) -> int:
        """The exit status, once it ends by itself."""
        assert self.process is not None
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.id} still runs after {within_s} s\n{self.log()}") from None

    def log(self, lines: int = 40) -> str:
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return f"--- {self.id} ---\n" + "\n".join(text.splitlines()[-lines:])

    async def status(self) -> Status | None:
        """None when it does not answer."""
        if not self.running:
            return None
        try:
            async with asyncio.timeout(1.0):
                return await self.store.status()
        except (StoreError, TimeoutError):
            return None


class Cluster:
    """`size` replicas n1, n2, ... with one CA. Processes are killed when the block ends."""

    process_type: type[StoreProcess] = StoreProcess

    def __init__(self, root: Path, size: int = 3, **settings: Any) -> None:
        self.root = root
        self.certs = root / "certs"
        self.cluster_id = create_ca(self.certs)
        self.settings = settings
        self.ports = dict(zip([f"n{i + 1}" for i in range(size)], free_ports(size), strict=True))
        self.nodes = {node_id: self._make(node_id, port) for node_id, port in self.ports.items()}

    def _make(self, node_id: str, port: int, **changed: Any) -> StoreProcess:
        issue(self.certs, node_id)
        settings: dict[str, Any] = {
            "node_id": node_id,
            "data_dir": str(self.root / node_id),
            "listen": f"127.0.0.1:{port}",
            "peers": {peer: f"127.0.0.1:{p}" for peer, p in self.ports.items()},
            "tls_dir": str(self.certs),
            "socket_path": str(self.root / f"{node_id}.sock"),
        }
        return self.process_type(node_id, self.root, settings | self.settings | changed)

    def add_process(self, node_id: str) -> StoreProcess:
        """A replica that knows the others and waits to be added."""
        (port,) = free_ports(1)
        self.nodes[node_id] = self._make(node_id, port, join=True)
        self.nodes[node_id].settings["peers"] = self.nodes[node_id].settings["peers"] | {
            node_id: f"127.0.0.1:{port}"
        }
        return self.nodes[node_id]

    def __getitem__(self, node_id: str) -> StoreProcess:
        return self.nodes[node_id]

    def __iter__(self) -> Iterator[StoreProcess]:
        return iter(self.nodes.values())

    async def __aenter__(self) -> Cluster:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self:
            await node.store.close()
            if node.running:
                node.kill()

    def start(self, *ids: str) -> None:
        for node_id in ids or self.nodes:
            self.nodes[node_id].start()

    def running(self) -> list[StoreProcess]:
        return [node for node in self if node.running]

    def logs(self) -> str:
        return "\n".join(node.log() for node in self)

    # --- conditions -----------------------------------------------------------------------------

    async def until(
        self, what: str, condition: Callable[[], Awaitable[Any]], within_s: float = DEADLINE_S
    ) -> Any:
        """The first truthy result of `condition`. Raises Timeout with the logs."""
        deadline = time.monotonic() + within_s
        while True:
            result = await condition()
            if result:
                return result
            if time.monotonic() > deadline:
                raise Timeout(f"not within {within_s} s: {what}\n{self.logs()}")
            await asyncio.sleep(0.02)

    async def leader(self, within_s: float = DEADLINE_S) -> StoreProcess:
        """The running replica that leads with a quorum."""

        async def find() -> StoreProcess | None:
            for node in self.running():
                status = await node.status()
                if status and status.role == "leader" and status.has_quorum:
                    return node
            return None

        found = await self.until("a leader is elected", find, within_s)
        assert isinstance(found, StoreProcess)
        return found

    async def follower(self) -> StoreProcess:
        leader = await self.leader()
        return next(node for node in self.running() if node is not leader)

    async def written(self, node: StoreProcess, txn: Txn, within_s: float = DEADLINE_S) -> Outcome:
        """Submit until taken: while nobody leads a replica says so at once, which is no failure of the write."""

        async def submit() -> Outcome | None:
            try:
                return await node.store.submit(txn, timeout_s=10.0)
            except Unavailable:
                return None

        found = await self.until(f"{node.id} takes a write", submit, within_s)
        assert isinstance(found, Outcome)
        return found

    async def caught_up(self, within_s: float = DEADLINE_S) -> int:
        """The index that all running replicas have applied, when they are equal."""

        async def equal() -> int:
            found = [await node.status() for node in self.running()]
            indexes = {status.applied_index if status else -1 for status in found}
            commits = {status.commit_index if status else -1 for status in found}
            return indexes.pop() if len(indexes) == 1 and len(commits) == 1 and indexes == commits else 0

        return int(await self.until("all replicas are equally far", equal, within_s))


def corrupt(path: Path, offset: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
        os.fsync(file.fileno())
