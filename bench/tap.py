"""A relay between one Envoy and one replica that notes when each discovery message passes.

An ACK is observable in the control plane's counters, but asking for them costs both sides time and
tells when they were asked. The tap sees the bytes: TLS ends here with the replica's certificate and
begins again towards the replica; inside, HTTP/2 frames are only looked at. All times are of one
clock, that of the process which also writes. The price is one hop more in each direction, so that
what is measured is an upper bound, by about a loopback round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from bench.wire import DATA, PREFACE, Frames, Messages, fields, payload

# DeltaDiscoveryRequest and DeltaDiscoveryResponse (envoy/service/discovery/v3/discovery.proto)
REQUEST_TYPE_URL, REQUEST_NONCE, REQUEST_ERROR = 2, 6, 7
RESPONSE_TYPE_URL, RESPONSE_NONCE = 4, 5
READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Exchange:
    """One response and its answer; times in seconds of time.perf_counter()."""

    type_url: str
    sent_at: float
    answered_at: float
    rejected: bool


class Observed:
    """Pairs the responses and answers of one connection."""

    def __init__(self, note: Callable[[Exchange], None]) -> None:
        self._note = note
        self._down, self._up = Frames(), Frames(preface=True)
        self._messages: dict[tuple[bool, int], Messages] = {}
        self._waiting: dict[tuple[int, bytes, bytes], float] = {}

    def response_bytes(self, data: bytes, now: float) -> None:
        for stream, message in self._split(data, up=False):
            found = dict(fields(message))
            key = (stream, found.get(RESPONSE_TYPE_URL, b""), found.get(RESPONSE_NONCE, b""))
            self._waiting[key] = now

    def request_bytes(self, data: bytes, now: float) -> None:
        for stream, message in self._split(data, up=True):
            found = dict(fields(message))
            key = (stream, found.get(REQUEST_TYPE_URL, b""), found.get(REQUEST_NONCE, b""))
            sent_at = self._waiting.pop(key, None)
            if sent_at is not None:
                self._note(Exchange(key[1].decode(), sent_at, now, REQUEST_ERROR in found))

    def _split(self, data: bytes, *, up: bool) -> list[tuple[int, bytes]]:
        found = []
        for kind, flags, stream, body in (self._up if up else self._down).feed(data):
            if kind == DATA:
                messages = self._messages.setdefault((up, stream), Messages())
                found += [(stream, message) for message in messages.feed(payload(flags, body))]
        return found


class Tap:
    """Listens on a port of its own (`address`) for proxies of the replica at `upstream`."""

    def __init__(self, upstream: str, cert_path: str, key_path: str, ca_path: str) -> None:
        parts = urlsplit(upstream)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)
        self._server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server_tls.load_cert_chain(cert_path, key_path)
        self._server_tls.set_alpn_protocols(["http/1.1", "h2"])
        self._ca_path = ca_path
        self._server: asyncio.Server | None = None
        self.exchanges: list[Exchange] = []
        self.address = ""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=self._server_tls)
        self.address = f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()

    async def acked(self, type_url: str, since: float, timeout_s: float = 30.0) -> Exchange:
        """The first exchange of a type whose response left after `since`. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                for exchange in reversed(self.exchanges):
                    if exchange.type_url == type_url and exchange.sent_at > since:
                        return exchange
                await asyncio.sleep(0.001)  # times are noted as bytes pass, not here

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tls = ssl.create_default_context(cafile=self._ca_path)
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        tls.set_alpn_protocols([chosen or "http/1.1"])
        observed = Observed(self.exchanges.append)
        try:
            there, back = await asyncio.open_connection(self._host, self._port, ssl=tls)
        except OSError:
            writer.close()
            return
        first = await reader.read(READ_BYTES)
        look = first.startswith(PREFACE)
        await asyncio.gather(
            _copy(reader, back, observed.request_bytes if look else None, first),
            _copy(there, writer, observed.response_bytes if look else None),
        )


async def _copy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    look: Callable[[bytes, float], None] | None,
    first: bytes = b"",
) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        data = first or await reader.read(READ_BYTES)
        while data:
            now = time.perf_counter()
            writer.write(data)
            if look is not None:
                look(data, now)
            await writer.drain()
            data = await reader.read(READ_BYTES)
    with contextlib.suppress(OSError, ssl.SSLError, RuntimeError):
        writer.close()
