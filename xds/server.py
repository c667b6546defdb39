"""The aggregated discovery service on grpc.aio: raw bytes in, raw bytes out.

Messages cross gRPC as bytes: responses are spliced from frames that all streams share, so letting
gRPC serialise objects would throw the sharing away. Nothing else is known of gRPC outside this
module; another transport needs `send`, `end`, and someone to call `on_message` (xds/stream.py).

    server = AdsServer(source, admission, gate=Gate(rate=200, burst=100))
    await server.start("127.0.0.1:0")        or "unix:/run/raftmesh/ads.sock"
    ...
    await server.stop()

Kuma's bootstrap also has Envoy ask for health checks on this port (HDS). There are none to ask for, so
that stream is accepted and stays quiet: refused, Envoy would log it and ask again every second, forever.

Traps that the options below avoid: gRPC refuses streams beyond 1,000 that wait to be accepted, and
cancels those that waited for 30 s, which loses proxies in a reconnect storm; and it closes connections
that ping "too often".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, NamedTuple

import grpc
import grpc.aio

from xds.delta import DeltaSession
from xds.gate import Gate
from xds.limits import (
    ACCEPT_WAIT_MAX_S,
    CLIENT_PING_INTERVAL_MIN_S,
    FIRST_REQUEST_TIMEOUT_S,
    KEEPALIVE_INTERVAL_S,
    KEEPALIVE_TIMEOUT_S,
    PENDING_STREAMS_HARD_MAX,
    PENDING_STREAMS_MAX,
    REQUEST_BYTES_MAX,
)
from xds.pacing import Pacer
from xds.session import Session
from xds.sotw import SotwSession
from xds.source import Admission, ConfigSource, OpenDoor
from xds.stream import Observer, Stream

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
DELTA_METHOD = "DeltaAggregatedResources"
SOTW_METHOD = "StreamAggregatedResources"
HEALTH_SERVICE = "envoy.service.health.v3.HealthDiscoveryService"
HEALTH_METHOD = "StreamHealthCheck"
STOPPING = "the control plane is stopping"

OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.server.max_pending_requests", PENDING_STREAMS_MAX),
    ("grpc.server.max_pending_requests_hard_limit", PENDING_STREAMS_HARD_MAX),
    ("grpc.server_max_unrequested_time_in_server", ACCEPT_WAIT_MAX_S),
    ("grpc.keepalive_time_ms", int(KEEPALIVE_INTERVAL_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(KEEPALIVE_TIMEOUT_S * 1000)),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", int(CLIENT_PING_INTERVAL_MIN_S * 1000)),
    ("grpc.http2.min_ping_interval_without_data_ms", int(CLIENT_PING_INTERVAL_MIN_S * 1000)),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
)


class _End(NamedTuple):
    code: grpc.StatusCode
    detail: str


class _GrpcTransport:
    """Messages wait here until the handler writes them. Bounded by one response per type."""

    def __init__(self) -> None:
        self._out: asyncio.Queue[bytes | _End] = asyncio.Queue()

    def send(self, data: bytes) -> None:
        self._out.put_nowait(data)

    def end(self, code: str, detail: str) -> None:
        self._out.put_nowait(_End(grpc.StatusCode[code], detail))

    async def next(self) -> bytes | _End:
        return await self._out.get()


class AdsServer:
    """Serves delta and state-of-the-world ADS from one source. Observers see every stream."""

    def __init__(
        self,
        source: ConfigSource,
        admission: Admission | None = None,
        observers: Iterable[Observer] = (),
        control_plane: str = "",
        first_request_timeout: float = FIRST_REQUEST_TIMEOUT_S,
        gate: Gate | None = None,
        drain_rate: float = 0.0,
    ) -> None:
        self._gate = gate if gate is not None else Gate()
        self._drain_rate = drain_rate
        self._source = source
        self._admission = admission if admission is not None else OpenDoor()
        self._observers = tuple(observers)
        self._control_plane = control_plane
        self._first_request_timeout = first_request_timeout
        self._streams: dict[int, Stream] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = asyncio.Event()
        self._server: grpc.aio.Server | None = None
        self._pacer = Pacer(lambda job: asyncio.get_running_loop().call_soon(job))

    def streams(self) -> Iterator[Stream]:
        """The open streams whose proxies were admitted."""
        return iter([stream for stream in self._streams.values() if stream.admitted])

    async def start(self, address: str) -> int:
        """Listen on "host:port" (0: any free port) or "unix:<path>". Returns the port.

        Raises OSError when the address cannot be bound.
        """
        self._server = grpc.aio.server(options=OPTIONS)
        handlers = {
            DELTA_METHOD: grpc.stream_stream_rpc_method_handler(self._handler(DeltaSession)),
            SOTW_METHOD: grpc.stream_stream_rpc_method_handler(self._handler(SotwSession)),
        }
        health = {HEALTH_METHOD: grpc.stream_stream_rpc_method_handler(self._nothing_to_check)}
        self._server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, handlers),
                grpc.method_handlers_generic_handler(HEALTH_SERVICE, health),
            )
        )
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from None
        await self._server.start()
        return port

    async def stop(self, grace: float = 1.0) -> None:
        """End all streams, so that proxies turn to another replica, and stop listening.

        They are sent away at the drain rate, so that the others are not run over by all of them at once,
        but within the time of grace.
        """
        self._stopping.set()
        await self._drain(grace / 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace / 2):
                await self._idle.wait()  # so that each proxy is told, not cut off
        if self._server is not None:
            await self._server.stop(grace)
            self._server = None

    async def _drain(self, grace: float) -> None:
        """End the streams one after the other; the rate rises if the grace is too short for it."""
        loop = asyncio.get_running_loop()
        started, waiting = loop.time(), list(self._streams.values())
        rate = max(self._drain_rate, len(waiting) / grace) if self._drain_rate and grace else 0.0
        for number, stream in enumerate(waiting):
            if rate and (ahead := started + number / rate - loop.time()) > 0:
                await asyncio.sleep(ahead)
            stream.end("UNAVAILABLE", STOPPING)

    def _handler(self, session: type[Session]) -> Callable[[Any, Any], AsyncIterator[bytes]]:
        async def handle(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            if self._stopping.is_set():
                await context.abort(grpc.StatusCode.UNAVAILABLE, STOPPING)
            transport = _GrpcTransport()
            stream = self._open(session, transport, context)
            reader = asyncio.get_running_loop().create_task(_read(requests, stream, transport))
            try:
                while not isinstance(message := await transport.next(), _End):
                    yield message
                if message.code is not grpc.StatusCode.OK:
                    await context.abort(message.code, message.detail)
            finally:
                reader.cancel()
                stream.on_close()
                del self._streams[stream.id]
                if not self._streams:
                    self._idle.set()

        return handle

    async def _nothing_to_check(self, requests: AsyncIterator[bytes], context: Any) -> None:
        await self._stopping.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, STOPPING)

    def _open(self, session: type[Session], transport: _GrpcTransport, context: Any) -> Stream:
        metadata = context.invocation_metadata() or ()
        headers = {key: value for key, value in metadata if isinstance(value, str)}
        stream = Stream(
            session(self._control_plane),
            transport,
            self._source,
            self._admission,
            headers,
            self._observers,
            self._first_request_timeout,
            self._gate,
            self._pacer,
        )
        self._streams[stream.id] = stream
        self._idle.clear()
        return stream


async def _read(requests: AsyncIterator[bytes], stream: Stream, transport: _GrpcTransport) -> None:
    """Feed the stream until the client half-closes; a broken connection cancels the handler."""
    try:
        async for message in requests:
            stream.on_message(message)
    finally:
        transport.end("OK", "")
