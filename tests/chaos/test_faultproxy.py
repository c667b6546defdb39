"""The proxy carries what it is given, and misbehaves exactly as told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from chaos.faultproxy import CARRIES, FaultProxy, Misbehaviour

DEADLINE_S = 30.0


@asynccontextmanager
async def echo() -> AsyncIterator[tuple[str, int]]:
    """A server that sends back what it gets, and ends when its client does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


@asynccontextmanager
async def connected(
    how: Misbehaviour | None = None,
) -> AsyncIterator[tuple[FaultProxy, asyncio.StreamReader, asyncio.StreamWriter]]:
    async with echo() as target, asyncio.timeout(DEADLINE_S):
        proxy = FaultProxy(target, how)
        reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
        try:
            yield proxy, reader, writer
        finally:
            writer.close()
            await proxy.close()


async def test_it_carries_every_byte_in_order_and_the_end() -> None:
    sent = bytes(range(256)) * 4000
    async with connected() as (proxy, reader, writer):
        writer.write(sent)
        writer.write_eof()
        assert await reader.read(-1) == sent
        assert proxy.carried == 2 * len(sent)


async def test_delay_holds_for_each_direction_and_changes_at_once() -> None:
    async with connected(Misbehaviour(delay_s=0.1)) as (proxy, reader, writer):
        began = time.monotonic()
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert time.monotonic() - began >= 0.2
        proxy.how.delay_s = 0.0
        began = time.monotonic()
        writer.write(b"ping")
        await reader.readexactly(4)
        assert time.monotonic() - began < 0.2


async def test_throttling_bounds_the_rate() -> None:
    async with connected(Misbehaviour(bytes_per_s=200_000)) as (_, reader, writer):
        began = time.monotonic()
        writer.write(b"x" * 50_000)
        await reader.readexactly(50_000)
        assert time.monotonic() - began >= 0.25


async def test_a_reset_breaks_open_connections_and_new_ones_work() -> None:
    async with connected() as (proxy, reader, writer):
        writer.write(b"before")
        await reader.readexactly(6)
        assert proxy.connections == 1
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        assert proxy._server is not None
        again, other = await asyncio.open_connection(*proxy._server.sockets[0].getsockname())
        other.write(b"after")
        assert await again.readexactly(5) == b"after"
        other.close()


async def test_silence_swallows_and_keeps_the_connection() -> None:
    async with connected(Misbehaviour(silent=True)) as (proxy, reader, writer):
        writer.write(b"lost")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(1), 0.2)
        proxy.how.silent = False
        writer.write(b"heard")
        assert await reader.readexactly(5) == b"heard"


async def test_a_target_that_is_away_ends_the_connection() -> None:
    async with echo() as target:
        address = target
    proxy = FaultProxy(address)
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", await proxy.start())
        with contextlib.suppress(ConnectionResetError):  # as good an end
            assert await reader.read(1) == b""
        writer.close()
        await proxy.close()


@pytest.mark.process
async def test_as_a_process_it_says_that_it_carries_and_resets_now_and_then() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with echo() as (host, target), asyncio.timeout(DEADLINE_S):
        options = ["--listen", str(port), "--target", f"{host}:{target}", "--reset-each", "0.3"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "chaos.faultproxy", *options), stdout=asyncio.subprocess.PIPE
        )
        try:
            reader, writer = await connect_to(port)
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                while True:
                    writer.write(b"ping")
                    assert await reader.readexactly(4) == b"ping"
            writer.close()
            assert process.stdout is not None
            assert (await process.stdout.readline()).decode().strip() == CARRIES
            process.terminate()
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def connect_to(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        with contextlib.suppress(ConnectionRefusedError):
            return await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(0.05)
