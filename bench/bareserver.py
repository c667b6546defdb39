"""The floor of the xDS benchmark: a gRPC server that sends given bytes to given streams, and no more.

It stands on the same gRPC as the product, with the same options, but derives, compares, splices and
remembers nothing. What it needs for the same bytes to the same streams, and their ACKs, nobody on this
transport can beat.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from xds.server import DELTA_METHOD, OPTIONS, SERVICE


class BareServer:
    """Streams are numbered in the order in which they came."""

    def __init__(self) -> None:
        self._server = grpc.aio.server(options=OPTIONS)
        self._queues: list[asyncio.Queue[bytes]] = []
        self._received = 0
        self._wanted = 0
        self._done = asyncio.Event()
        self._sent_at = 0.0
        self.ack_s: list[float] = []  # of the last `send`: seconds until each ACK

    async def start(self) -> int:
        handlers = {DELTA_METHOD: grpc.stream_stream_rpc_method_handler(self._handle)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return port

    async def stop(self) -> None:
        await self._server.stop(None)

    async def _handle(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.append(queue)
        reader = asyncio.get_running_loop().create_task(self._read(requests))
        try:
            while True:
                yield await queue.get()
        finally:
            reader.cancel()

    async def _read(self, requests: AsyncIterator[bytes]) -> None:
        async for _ in requests:
            self._received += 1
            self.ack_s.append(time.perf_counter() - self._sent_at)
            if self._received == self._wanted:
                self._done.set()

    async def opened(self, count: int, timeout_s: float = 120.0) -> None:
        """Wait until so many streams exist and each has sent its first request."""
        async with asyncio.timeout(timeout_s):
            while len(self._queues) < count or self._received < count:
                await asyncio.sleep(0.01)

    async def joined(self, connect: Callable[[], None], timeout_s: float = 120.0) -> tuple[float, float]:
        """Have one more client connect; the seconds, and CPU seconds, until its first request is here."""
        return await self._measured(1, connect, timeout_s)

    async def send(
        self, messages: Sequence[tuple[int, bytes]], timeout_s: float = 120.0
    ) -> tuple[float, float]:
        """Send (stream number, bytes); the seconds, and CPU seconds, until all are acknowledged."""

        def put() -> None:
            for number, data in messages:
                self._queues[number].put_nowait(data)

        return await self._measured(len(messages), put, timeout_s)

    async def _measured(self, count: int, act: Callable[[], None], timeout_s: float) -> tuple[float, float]:
        """Seconds, and CPU seconds, from the act until so many requests came of it."""
        self._wanted = self._received + count
        self._done.clear()
        self._sent_at = start = time.perf_counter()
        cpu = time.process_time()
        self.ack_s = []
        act()
        if count:
            async with asyncio.timeout(timeout_s):
                await self._done.wait()
        return time.perf_counter() - start, time.process_time() - cpu
