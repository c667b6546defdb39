"""Both sides of a race, started alike: three members on loopback, spoken to over TCP.

`peers(...)` yields our side, and etcd if it is installed, with one interface: name, leader(),
follower(), added(), and members with address, start() and kill().
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

from bench.etcd import EtcdCluster, installed
from bench.harness import Report
from bench.store_clients import Address
from bench.tcp_store import tcp_port_file
from tests.process.cluster import Cluster, StoreProcess


class Member(Protocol):
    """One process of either side."""

    process: Any  # subprocess.Popen

    @property
    def address(self) -> Address: ...

    def start(self) -> None: ...

    def kill(self) -> None: ...


class Side(Protocol):
    """One cluster of either side."""

    name: str

    def __iter__(self) -> Iterator[Any]: ...

    async def leader(self) -> Any: ...

    async def follower(self) -> Any: ...

    async def added(self) -> Any: ...


class TcpStore(StoreProcess):
    """A store process that also listens on TCP (tcp_store.py)."""

    module = "bench.tcp_store"

    @property
    def address(self) -> Address:
        return "127.0.0.1", int(tcp_port_file(self.settings["socket_path"]).read_text())


class RaftmeshCluster(Cluster):
    """Three replicas with their defaults."""

    name = "raftmesh"
    process_type = TcpStore

    async def __aenter__(self) -> RaftmeshCluster:
        self.start()
        await self.leader()
        return self

    async def added(self) -> StoreProcess:
        """A fourth voter, made known to the others; start() is the caller's."""
        new = self.add_process(f"n{len(self.nodes) + 1}")
        leader = await self.leader()
        await leader.store.add(new.id, new.settings["listen"], True)
        return new


@contextlib.asynccontextmanager
async def sides(report: Report, root: Path) -> AsyncIterator[list[Any]]:
    """Ours first, then etcd, if it is installed."""
    async with contextlib.AsyncExitStack() as stack:
        ours = root / "raftmesh"
        ours.mkdir()
        found: list[Any] = [await stack.enter_async_context(RaftmeshCluster(ours))]
        if installed():
            found.append(await stack.enter_async_context(EtcdCluster(root / "etcd")))
        else:
            report.note("etcd is not installed (Debian: etcd-server), so it is not raced")
        yield found
