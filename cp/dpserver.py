"""The port for data-plane proxies: gRPC and HTTP behind one TLS listener (5678).

A connection says by its first bytes what it is: the HTTP/2 preface means ADS, anything else is
HTTP/1.1 (`/bootstrap`). TLS ends here for both, so there is one certificate and one context:

    TLS ── "PRI * HTTP/2.0" ──> relayed to grpc.aio on a private Unix socket
       └── otherwise ─────────> aiohttp's protocol takes the transport over

gRPC keeps its own sockets and cannot be handed a connection, hence the relay: a few microseconds
per message, and bytes that wait for a slow proxy wait in one more buffer, which is bounded by
pausing the other side. A client that offers both protocols in ALPN is given HTTP/1.1, because
those are HTTP clients; gRPC clients offer only h2.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import cast

from aiohttp import web

from xds.server import AdsServer

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# Go's ReadHeaderTimeout of Kuma's dp-server: a connection that says nothing is closed.
FIRST_BYTES_TIMEOUT_S = 5.0
HANDSHAKE_TIMEOUT_S = 10.0
KEEPALIVE_S = 15.0

# How long, at most, the last bytes of ended streams may take to reach the proxies.
FLUSH_TIMEOUT_S = 1.0

# Bytes in flight between the two halves of a relay before the faster side is paused.
RELAY_BUFFER_MAX = 1 << 20


class DpServer:
    """Serves one ADS server and one HTTP application on a TLS socket.

    tls: a server context with its certificate; its ALPN protocols are set here.
    """

    def __init__(
        self,
        ads: AdsServer,
        app: web.Application,
        tls: ssl.SSLContext,
        first_bytes_timeout: float = FIRST_BYTES_TIMEOUT_S,
    ) -> None:
        tls.set_alpn_protocols(["http/1.1", "h2"])
        self._ads = ads
        self._tls = tls
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEPALIVE_S)
        self._first_bytes_timeout = first_bytes_timeout
        self._directory = ""
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.BaseTransport] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    async def start(self, listening: socket.socket) -> None:
        """Serve on a bound socket, which is owned from here on. Raises OSError."""
        self._directory = tempfile.mkdtemp(prefix="raftmesh-ads-")  # mode 0700: ours alone
        path = str(Path(self._directory) / "ads.sock")
        await self._ads.start(f"unix:{path}")
        await self._runner.setup()
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: _Front(self, path),
            sock=listening,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            ssl_shutdown_timeout=FLUSH_TIMEOUT_S,
        )

    async def stop(self, grace: float = 10.0) -> None:
        """Tell the proxies to turn to another replica, finish HTTP requests, close. Idempotent."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._ads.stop(grace)
        await self._runner.cleanup()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(grace, FLUSH_TIMEOUT_S)):
                await self._empty.wait()  # gRPC has ended them; its last words are on their way
        for connection in list(self._connections):
            connection.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = ""

    def http_protocol(self) -> asyncio.Protocol:
        """A fresh HTTP/1.1 protocol for one connection."""
        server = self._runner.server
        assert server is not None, "the HTTP application is set up before connections are accepted"
        return server()

    @property
    def first_bytes_timeout(self) -> float:
        return self._first_bytes_timeout

    def opened(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(transport)
        self._empty.clear()

    def closed(self, transport: asyncio.BaseTransport) -> None:
        self._connections.discard(transport)
        if not self._connections:
            self._empty.set()


class _Front(asyncio.Protocol):
    """A new connection, until its first bytes tell what it speaks."""

    def __init__(self, server: DpServer, ads_path: str) -> None:
        self._server = server
        self._ads_path = ads_path
        self._received = b""
        self._transport: asyncio.Transport
        self._timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._server.opened(transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._server.first_bytes_timeout, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._server.closed(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.startswith(PREFACE):
            self._hand_to_grpc()
        elif not PREFACE.startswith(self._received):
            self._hand_to_http()

    def _hand_to_http(self) -> None:
        self._timer.cancel()
        self._server.closed(self._transport)  # aiohttp closes its own connections
        protocol = self._server.http_protocol()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._received)

    def _hand_to_grpc(self) -> None:
        self._timer.cancel()
        self._transport.pause_reading()
        relay = _Relay(self._server, self._transport, self._received)
        self._transport.set_protocol(relay.client)
        relay.connect(self._ads_path)


class _Relay:
    """A proxy's connection joined to one of gRPC's."""

    def __init__(self, server: DpServer, transport: asyncio.Transport, received: bytes) -> None:
        self._server = server
        self._transport = transport
        self._task: asyncio.Task[None] | None = None
        self.client = _Half(self._client_lost, received)
        self.client.transport = transport

    def connect(self, path: str) -> None:
        self._task = asyncio.get_running_loop().create_task(self._connect(path))

    async def _connect(self, path: str) -> None:
        inner = _Half(self._transport.close)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: inner, path)
        except OSError:
            self._transport.close()  # the server is stopping
            return
        assert inner.transport is not None
        inner.transport.set_write_buffer_limits(RELAY_BUFFER_MAX)
        self._transport.set_write_buffer_limits(RELAY_BUFFER_MAX)
        inner.join(self._transport)
        self.client.join(inner.transport)
        self._transport.resume_reading()

    def _client_lost(self) -> None:
        self._server.closed(self._transport)
        if self._task is not None and not self._task.done():
            self._task.cancel()
        if self.client.peer is not None:
            self.client.peer.close()


class _Half(asyncio.Protocol):
    """One side of a relay: what it receives goes to `peer`; when it is slow, `peer` is paused.

    A transport may deliver what it has decrypted already although its reading is paused, so what
    arrives before there is a peer is kept.
    """

    def __init__(self, lost: Callable[[], None], received: bytes = b"") -> None:
        self._lost = lost
        self._received = received
        self.transport: asyncio.Transport | None = None
        self.peer: asyncio.Transport | None = None

    def join(self, peer: asyncio.Transport) -> None:
        """From here on, forward to `peer`."""
        self.peer = peer
        if self._received:
            peer.write(self._received)
            self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.peer is not None:
            self.peer.write(data)
        else:
            self._received += data

    def pause_writing(self) -> None:
        if self.peer is not None:
            self.peer.pause_reading()

    def resume_writing(self) -> None:
        if self.peer is not None:
            with contextlib.suppress(RuntimeError):  # it was closed meanwhile
                self.peer.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
