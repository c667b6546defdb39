"""The racing clients: ours against a real replica, etcd's against a real gRPC server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from bench import store_clients
from bench.driver import Load, acknowledged
from bench.etcd import numbers
from bench.store_clients import PUT, RANGE, WATCH, Etcd, Raftmesh
from bench.tcp_store import TcpService, tcp_port_file
from bench.wire import field, fields
from raftstore.embedded import EmbeddedStore
from raftstore.settings import StoreConfig
from raftstore.types import Key


async def answered(ask, *arguments: object) -> bool:  # type: ignore[no-untyped-def]
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    ask(*arguments, done.set_result)
    async with asyncio.timeout(30):
        return await done


@pytest.fixture
async def replica(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    store = await EmbeddedStore.open(StoreConfig(node_id="n1", data_dir=str(tmp_path / "data")))
    service = TcpService(store.replica, str(tmp_path / "n1.sock"))
    await service.start()
    yield store
    await service.close()
    await store.close()


@pytest.fixture
async def ours(replica: EmbeddedStore, tmp_path: Path) -> AsyncIterator[Raftmesh]:
    port = int(tcp_port_file(str(tmp_path / "n1.sock")).read_text())
    client = await Raftmesh.open(("127.0.0.1", port))
    yield client
    client.close()


async def test_ours_writes_and_reads(replica: EmbeddedStore, ours: Raftmesh) -> None:
    assert await answered(ours.put, 7, b"value")
    record = replica.replica.machine.state.get(Key("Bench", "default", "k7"))
    assert record is not None and record.value == b"value"
    assert await answered(ours.read, 7)
    assert not await answered(ours.read, 8), "a read of nothing is a failure of the benchmark"


async def test_ours_watches_what_comes(replica: EmbeddedStore, ours: Raftmesh, tmp_path: Path) -> None:
    await acknowledged(ours, 1, b"before")
    port = int(tcp_port_file(str(tmp_path / "n1.sock")).read_text())
    watcher, events = await Raftmesh.open(("127.0.0.1", port)), asyncio.Semaphore(0)
    assert await answered(lambda ready: watcher.watch(events.release, ready))
    assert events.locked()
    await acknowledged(ours, 2, b"after")
    async with asyncio.timeout(30):
        await events.acquire()
    watcher.close()


async def test_a_load_keeps_so_many_outstanding_and_counts_each_answer(ours: Raftmesh) -> None:
    load = Load(ours, "put", 100)
    found = await load.run(8, 0.2)
    assert found.answers == len(load.latencies) >= 8
    assert 0 < found.p50_ms <= found.p99_ms and found.rate > 0
    with pytest.raises(RuntimeError, match="read 0 failed"):
        await Load(Empty(), "read", 0).run(1, 0.1)


class Empty:
    """A store that has nothing."""

    def put(self, number: int, value: bytes, on_done: store_clients.OnDone) -> None:
        on_done(False)

    def read(self, number: int, on_done: store_clients.OnDone) -> None:
        on_done(False)

    def close(self) -> None:
        """Nothing to close."""


class FakeEtcd(grpc.GenericRpcHandler):
    """gRPC's own server; keeps what is put, one event for each put."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.puts: asyncio.Queue[bytes] = asyncio.Queue()

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if call.method == WATCH:
            return grpc.stream_stream_rpc_method_handler(self.watch)
        return grpc.unary_unary_rpc_method_handler({PUT: self.put, RANGE: self.range}[call.method])

    async def put(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        found = dict(fields(request))
        if not found[2]:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "empty")
        self.kept[found[1]] = found[2]
        self.puts.put_nowait(found[1])
        return field(1, b"\x18\x05")

    async def range(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        key = dict(fields(request))[1]
        return field(1, b"") + (field(2, field(5, self.kept[key])) if key in self.kept else b"")

    async def watch(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for _ in requests:
            yield field(1, b"") + b"\x18\x01"  # created
            while True:
                yield field(11, await self.puts.get())


@pytest.fixture
async def etcd() -> AsyncIterator[tuple[FakeEtcd, store_clients.Address]]:
    fake, server = FakeEtcd(), grpc.aio.server()
    server.add_generic_rpc_handlers((fake,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield fake, ("127.0.0.1", port)
    await server.stop(None)


async def test_etcds_speaks_as_a_grpc_server_wants_it(etcd: tuple[FakeEtcd, store_clients.Address]) -> None:
    fake, address = etcd
    client = await Etcd.open(address)
    for number in range(20):  # the first says its headers in full, the others by number
        assert await answered(client.put, number, b"v%d" % number)
    assert fake.kept == {b"/bench/k%d" % n: b"v%d" % n for n in range(20)}
    assert not await answered(client.put, 1, b""), "an error is a failure"
    assert await answered(client.read, 3)  # another method on the same connection
    assert not await answered(client.read, 99)
    client.close()


async def test_etcds_respects_the_servers_window(etcd: tuple[FakeEtcd, store_clients.Address]) -> None:
    fake, address = etcd
    client = await Etcd.open(address)
    value = b"x" * 10_240  # a hundred outstanding are sixteen windows
    assert all(await asyncio.gather(*(answered(client.put, number, value) for number in range(100))))
    assert len(fake.kept) == 100
    client.close()


async def test_etcds_watches(etcd: tuple[FakeEtcd, store_clients.Address]) -> None:
    _, address = etcd
    writer, watcher = await Etcd.open(address), await Etcd.open(address, WATCH)
    events = asyncio.Semaphore(0)
    assert await answered(lambda ready: watcher.watch(events.release, ready))
    await acknowledged(writer, 1, b"x")
    async with asyncio.timeout(30):
        await events.acquire()
    writer.close()
    watcher.close()


def test_numbers_are_the_varints_at_the_top() -> None:
    assert numbers(field(1, b"\x08\x07") + b"\x20\xac\x02" + field(3, b"ab")) == {4: 300}
