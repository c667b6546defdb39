"""Two clients of equal build, one for each side of a race: callbacks on one TCP connection.

    Raftmesh   frames of raftstore/service.py, to a store process with a TCP port (tcp_store.py)
    Etcd       gRPC by hand (wire.py): static headers, one frame each way and the trailers

A client library would be measured along with the server, and each side's costs differently: on a
machine with few cores that decides the race. These two do as little as their protocols allow,
by the same means: requests of one pass of the loop leave in one write, answers are matched by
number. Each is to be used by one thread, with one method a connection.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol, Self, cast
from uuid import uuid4

from bench import wire
from bench.wire import field, fields, frame, grpc_message, payload
from raftstore.codec import encode_txn
from raftstore.frames import FrameDecoder, Value, encode
from raftstore.limits import SOCKET_FRAME_BYTES_MAX
from raftstore.types import Key, Put, Txn

Address = tuple[str, int]
OnDone = Callable[[bool], None]
KEYS = 1_000
TIMEOUT_S = 30.0


class StoreClient(Protocol):
    """What the load needs of either side. on_done(True): acknowledged."""

    def put(self, number: int, value: bytes, on_done: OnDone, /) -> None: ...

    def read(self, number: int, on_done: OnDone, /) -> None:
        """A linearizable read of the value of one key."""
        ...

    def close(self) -> None: ...


class _Connection(asyncio.Protocol):
    """Collects what is written in one pass of the loop; subclasses read."""

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    def _write(self, *parts: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.extend(parts)

    def _flush(self) -> None:
        if self._wire is not None:
            self._wire.write(b"".join(self._out))
        self._out.clear()


class Raftmesh(_Connection):
    """To one store process."""

    def __init__(self) -> None:
        super().__init__()
        self._decoder = FrameDecoder(SOCKET_FRAME_BYTES_MAX)
        self._waiting: dict[int, Callable[[Value], None]] = {}
        self._prefix = uuid4().hex[:16]
        self._number = 0

    @classmethod
    async def open(cls, address: Address) -> Self:
        _, client = await asyncio.get_running_loop().create_connection(cls, *address)
        return client

    def put(self, number: int, value: bytes, on_done: OnDone) -> None:
        key = Key("Bench", "default", f"k{number}")
        self._number += 1
        txn = encode_txn(Txn((Put(key, value),), request_id=f"{self._prefix}-{self._number}", via="bench"))
        self._ask(("submit", TIMEOUT_S, txn), lambda answer: on_done(_ok(answer)))

    def read(self, number: int, on_done: OnDone) -> None:
        self._number += 1
        self._ask(("get", TIMEOUT_S, "Bench", "default", f"k{number}"), lambda a: on_done(_ok(a)))

    def watch(self, on_event: Callable[[], None], on_ready: OnDone) -> None:
        """Every change from now on. The connection is of no other use afterwards."""

        def item(value: Value) -> None:
            match value:
                case (_, "item", ("B", *_)):
                    on_ready(True)
                case (_, "item", ("C", *_)):
                    on_event()

        def feed(answer: Value) -> None:
            self._waiting[0] = item
            assert isinstance(answer, tuple)
            self._write(encode((0, "feed", answer[2]), SOCKET_FRAME_BYTES_MAX))

        self._number += 1
        self._ask(("read", TIMEOUT_S), feed)

    def data_received(self, data: bytes) -> None:
        self._decoder.feed(data)
        while (found := self._decoder.next()) is not None:
            value = found[0]
            if isinstance(value, tuple) and isinstance(value[0], int):
                done = self._waiting.get(0) if value[0] == 0 else self._waiting.pop(value[0], None)
                if done is not None:
                    done(value)

    def _ask(self, body: tuple[object, ...], on_answer: Callable[[Value], None]) -> None:
        self._waiting[self._number] = on_answer
        self._write(encode((self._number, *body), SOCKET_FRAME_BYTES_MAX))


def _ok(answer: Value) -> bool:
    """A value read must be there; an outcome or an index always is."""
    return isinstance(answer, tuple) and answer[1] == "ok" and answer[2] is not None


PUT, RANGE = "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Range"
WATCH, STATUS = "/etcdserverpb.Watch/Watch", "/etcdserverpb.Maintenance/Status"
MEMBER_ADD = "/etcdserverpb.Cluster/MemberAdd"
_EVENTS = 11  # WatchResponse.events
_WINDOW = 65_535  # what either side may send before it is told of more (RFC 9113, 6.9.2)


class Etcd(_Connection):
    """To one member; `method` is the one that is called first, cheaply, and mostly."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self._frames = wire.Frames()
        self._stream = -1
        self._waiting: dict[int, tuple[Callable[[bytes | None], None], bytearray]] = {}
        self._streaming: dict[int, tuple[Callable[[bytes], None], wire.Messages]] = {}
        self._window = _WINDOW
        self._held: deque[bytes] = deque()
        self._method = method
        self._headers = _headers(method, remembered=True)

    @classmethod
    async def open(cls, address: Address, method: str = PUT) -> Self:
        _, client = await asyncio.get_running_loop().create_connection(lambda: cls(method), *address)
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        wide = struct.pack(">HI", 4, wire.WINDOW_MAX)  # SETTINGS_INITIAL_WINDOW_SIZE
        more = struct.pack(">I", wire.WINDOW_MAX - _WINDOW)
        self._write(wire.PREFACE, frame(wire.SETTINGS, 0, 0, wide), frame(wire.WINDOW_UPDATE, 0, 0, more))

    def put(self, number: int, value: bytes, on_done: OnDone) -> None:
        message = field(1, b"/bench/k%d" % number) + field(2, value)
        self.call(PUT, message, lambda answer: on_done(answer is not None))

    def read(self, number: int, on_done: OnDone) -> None:
        def done(answer: bytes | None) -> None:
            on_done(answer is not None and any(tag == 2 for tag, _ in fields(answer)))  # RangeResponse.kvs

        self.call(RANGE, field(1, b"/bench/k%d" % number), done)

    def watch(self, on_event: Callable[[], None], on_ready: OnDone) -> None:
        """Every change under /bench/ from now on."""

        def message(data: bytes) -> None:
            if any(tag == _EVENTS for tag, _ in fields(data)):
                on_event()
            else:
                on_ready(True)

        create = field(1, field(1, b"/bench/") + field(2, b"/bench0"))
        self._send(WATCH, create, end=False)
        self._streaming[self._stream] = message, wire.Messages()

    def call(self, method: str, message: bytes, on_answer: Callable[[bytes | None], None]) -> None:
        """on_answer(message), or None for an error of any kind."""
        self._send(method, message, end=True)
        self._waiting[self._stream] = on_answer, bytearray()

    def _send(self, method: str, message: bytes, *, end: bool) -> None:
        self._stream += 2
        headers = _headers(method)
        if method == self._method:
            headers, self._headers = self._headers, _AGAIN
        data = grpc_message(message)
        self._write(frame(wire.HEADERS, wire.END_HEADERS, self._stream, headers))
        self._held.append(frame(wire.DATA, wire.END_STREAM if end else 0, self._stream, data))
        self._pump()

    def _pump(self) -> None:
        """DATA, as far as the server's window for the connection allows. (Each message is far
        smaller than a stream's.)"""
        while self._held and self._window >= len(self._held[0]) - 9:
            data = self._held.popleft()
            self._window -= len(data) - 9
            self._write(data)

    def data_received(self, data: bytes) -> None:
        for kind, flags, stream, body in self._frames.feed(data):
            if kind == wire.DATA:
                self._data(stream, payload(flags, body))
            elif kind == wire.WINDOW_UPDATE and stream == 0:
                self._window += int.from_bytes(body, "big")
                self._pump()
            elif kind in (wire.PING, wire.SETTINGS) and not flags & wire.ACK:
                self._write(frame(kind, wire.ACK, 0, body if kind == wire.PING else b""))
            if (kind in (wire.DATA, wire.HEADERS) and flags & wire.END_STREAM) or kind == wire.RESET:
                self._end(stream)

    def _data(self, stream: int, data: bytes) -> None:
        if stream in self._streaming:
            on_message, messages = self._streaming[stream]
            for message in messages.feed(data):
                on_message(message)
        elif stream in self._waiting:
            self._waiting[stream][1].extend(data)

    def _end(self, stream: int) -> None:
        self._streaming.pop(stream, None)
        waiting = self._waiting.pop(stream, None)
        if waiting is not None:
            on_answer, data = waiting
            on_answer(bytes(data[5:]) if data else None)  # an error has trailers only


_POST_HTTP = b"\x83\x86"
_AGAIN = _POST_HTTP + b"\xc1\xc0\xbf\xbe"


def _headers(method: str, *, remembered: bool = False) -> bytes:
    """HPACK (RFC 7541): the first two by number, the others written out.

    remembered: of a connection's main method, so that afterwards _AGAIN says the same.
    """
    path, authority, content, te = (
        (b"\x44", b"\x41", b"\x5f", b"\x40") if remembered else (b"\x04", b"\x01", b"\x0f\x10", b"\x00")
    )
    return b"".join(
        (
            *(_POST_HTTP, path, _text(method), authority, _text("127.0.0.1")),
            *(content, _text("application/grpc"), te, _text("te"), _text("trailers")),
        )
    )


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
