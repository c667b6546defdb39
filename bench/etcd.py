"""Three etcd processes on loopback and a client, to race against in the same run.

The client speaks etcd's KV.Put over gRPC with hand-made messages, which is cheaper for it
than generated code. Plain text, as etcd is started here; replicas of raftstore speak TLS.
"""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from types import TracebackType

import grpc
import grpc.aio

from tests.process.cluster import free_ports

PUT, STATUS = "/etcdserverpb.KV/Put", "/etcdserverpb.Maintenance/Status"
START_S = 20.0


class Etcd:
    """A cluster in `root`; put() goes to the leader."""

    def __init__(self, root: Path, size: int = 3) -> None:
        self._root = root
        ports = free_ports(2 * size)
        self._clients, self._peers = ports[:size], ports[size:]
        self._processes: list[subprocess.Popen[bytes]] = []
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Etcd:
        self._root.mkdir()
        cluster = ",".join(f"e{n}=http://127.0.0.1:{port}" for n, port in enumerate(self._peers))
        for n, (client, peer) in enumerate(zip(self._clients, self._peers, strict=True)):
            urls = {"client": f"http://127.0.0.1:{client}", "peer": f"http://127.0.0.1:{peer}"}
            arguments = [
                *("etcd", "--name", f"e{n}", "--data-dir", str(self._root / f"e{n}")),
                *("--listen-client-urls", urls["client"], "--advertise-client-urls", urls["client"]),
                *("--listen-peer-urls", urls["peer"], "--initial-advertise-peer-urls", urls["peer"]),
                *("--initial-cluster", cluster, "--initial-cluster-state", "new"),
            ]
            log = (self._root / f"e{n}.log").open("wb")
            self._processes.append(subprocess.Popen(arguments, stdout=log, stderr=log))
            log.close()
        async with asyncio.timeout(START_S):
            self._channel = await self._leader()
        self._put = self._channel.unary_unary(PUT)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._channel is not None:
            await self._channel.close()
        for process in self._processes:
            process.kill()
            process.wait()

    async def put(self, number: int, value: bytes) -> object:
        key = b"/bench/k%d" % (number % 1_000)
        return await self._put(_field(1, key) + _field(2, value))

    async def _leader(self) -> grpc.aio.Channel:
        """A channel to the member whose Status names itself as the leader."""
        while True:
            for port in self._clients:
                channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
                try:
                    header, leader = _member_and_leader(await channel.unary_unary(STATUS)(b"", timeout=1))
                    if header == leader:
                        return channel
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.1)
                await channel.close()


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _fields(data: bytes) -> dict[int, int | bytes]:
    """The varint and length-delimited fields of a message."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        value, at = _read_varint(data, at)
        if tag & 7 == 2:
            found[tag >> 3], at = data[at : at + value], at + value
        else:
            found[tag >> 3] = value
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _member_and_leader(status: bytes) -> tuple[object, object]:
    """StatusResponse: header (1) with member_id (2), and leader (4)."""
    fields = _fields(status)
    header = fields.get(1, b"")
    assert isinstance(header, bytes)
    return _fields(header).get(2), fields.get(4, 0)
