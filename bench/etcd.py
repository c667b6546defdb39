"""etcd processes on loopback, to race against in the same run: its defaults, its fsync on.

Clients and members speak plain text here, as etcd is usually benchmarked; replicas of raftstore
speak mutual TLS among themselves, always.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from bench.store_clients import MEMBER_ADD, STATUS, Address, Etcd
from bench.wire import field as message_field
from bench.wire import fields
from dp.ports import free_ports

START_S = 20.0


def installed() -> bool:
    return shutil.which("etcd") is not None


@dataclass(slots=True)
class Member:
    """One process."""

    name: str
    root: Path
    client_port: int
    peer_port: int
    process: subprocess.Popen[bytes] | None = None
    arguments: list[str] = field(default_factory=list)

    @property
    def address(self) -> Address:
        return "127.0.0.1", self.client_port

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    def start(self) -> None:
        client = f"http://127.0.0.1:{self.client_port}"
        command = [
            *("etcd", "--name", self.name, "--data-dir", str(self.root / self.name)),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
            *self.arguments,
        ]
        with (self.root / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self) -> None:
        """kill -9, and wait for the end."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class EtcdCluster:
    """`size` members in `root`; killed when the block ends."""

    name = "etcd"

    def __init__(self, root: Path, size: int = 3) -> None:
        self.root = root
        ports = free_ports(2 * size)
        self.members = [Member(f"e{n}", root, ports[2 * n], ports[2 * n + 1]) for n in range(size)]
        everybody = ",".join(f"{m.name}={m.peer_url}" for m in self.members)
        for member in self.members:
            member.arguments = ["--initial-cluster", everybody, "--initial-cluster-state", "new"]

    def __iter__(self) -> Iterator[Member]:
        return iter(self.members)

    async def __aenter__(self) -> EtcdCluster:
        self.root.mkdir()
        for member in self:
            member.start()
        await self.leader()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self:
            member.kill()

    async def leader(self) -> Member:
        """The member whose Status names itself as the leader."""
        async with asyncio.timeout(START_S):
            while True:
                for member in self:
                    status = await call(member.address, STATUS, b"")
                    if status is not None and _leads(status):
                        return member
                await asyncio.sleep(0.05)

    async def follower(self) -> Member:
        leader = await self.leader()
        return next(member for member in self if member is not leader)

    async def added(self) -> Member:
        """A fourth member, made known to the others; start() is the caller's."""
        client_port, peer_port = free_ports(2)
        new = Member(f"e{len(self.members)}", self.root, client_port, peer_port)
        address = (await self.leader()).address
        async with asyncio.timeout(START_S):  # it refuses while a member is up for less than 5 s
            while await call(address, MEMBER_ADD, message_field(1, new.peer_url.encode())) is None:
                await asyncio.sleep(0.5)
        self.members.append(new)
        everybody = ",".join(f"{m.name}={m.peer_url}" for m in self.members)
        new.arguments = ["--initial-cluster", everybody, "--initial-cluster-state", "existing"]
        return new


async def call(address: Address, method: str, message: bytes, timeout_s: float = 1.0) -> bytes | None:
    """One unary call on a connection of its own; None when it fails in any way."""
    try:
        client = await Etcd.open(address, method)
    except OSError:
        return None
    done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    client.call(method, message, lambda answer: None if done.done() else done.set_result(answer))
    try:
        async with asyncio.timeout(timeout_s):
            return await done
    except TimeoutError:
        return None
    finally:
        client.close()


def _leads(status: bytes) -> bool:
    """StatusResponse: header (1) with member_id (2), and leader (4), both varints."""
    header = next((value for number, value in fields(status) if number == 1), b"")
    me, leader = numbers(header).get(2), numbers(status).get(4, 0)
    return me is not None and me == leader


def numbers(data: bytes) -> dict[int, int]:
    """The varint fields at the top of a message."""
    found: dict[int, int] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 2:
            at += value
        else:
            found[tag >> 3] = value
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
