"""The store as a worker process sees it: a Store over the Unix socket of service.py.

The store process may be restarted at any time. Requests then wait for it, until their
deadline: writes are sent again with the same request id, in order; a feed goes on after
the last index that it delivered. A feed that began with a snapshot and finds its index
compacted gets a new snapshot; one that began at an index raises Compacted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from itertools import count
from typing import Any, cast
from uuid import uuid4

from msgspec.structs import replace

from raftstore import codec, limits
from raftstore.errors import Compacted, Overloaded, StoreError, Unavailable, UnknownOutcome
from raftstore.frames import FrameDecoder, FrameError, Value, encode
from raftstore.port import Status
from raftstore.types import OLDEST, FeedItem, Outcome, SnapshotEnd, SnapshotStart, Txn
from raftstore.wire import error_from_wire, status_from_wire

log = logging.getLogger(__name__)

PROTOCOL = 1
RECONNECT_S_MIN, RECONNECT_S_MAX = 0.02, 0.5


def _ignore(*_: object) -> None:
    """Until somebody listens."""


@dataclass(slots=True)
class _Request:
    """One request without an answer. `sent`: whether it ever left."""

    body: tuple[Any, ...]
    done: asyncio.Future[Any]
    deadline: float
    sent: bool = False


class _Connection(asyncio.Protocol):
    """One connection to the service: values in order, and its end."""

    def __init__(self) -> None:
        self.hello: asyncio.Future[tuple[str, str]] = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()
        self.on_value: Callable[[Value], None] = _ignore
        self.on_end: Callable[[], None] = _ignore
        self._decoder = FrameDecoder(limits.SOCKET_FRAME_BYTES_MAX)
        self._wire: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._decoder.feed(data)
        try:
            while (item := self._decoder.next()) is not None:
                self._take(item[0])
        except (FrameError, ValueError) as error:
            log.warning("the store's socket: %s", error)
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._wire = None
        self.closed.set()
        self.on_end()
        if not self.hello.done():
            self.hello.set_exception(ConnectionError("the store closed the connection"))
            self.hello.exception()  # nobody may be waiting any more

    def write(self, *values: object) -> None:
        if self._wire is not None:
            self._wire.write(b"".join(encode(v, limits.SOCKET_FRAME_BYTES_MAX) for v in values))

    def pause(self, paused: bool) -> None:
        if self._wire is not None:
            (self._wire.pause_reading if paused else self._wire.resume_reading)()

    def abort(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    def _take(self, value: Value) -> None:
        if self.hello.done():
            self.on_value(value)
            return
        match value:
            case ("hello", int(protocol), str(node), str(cluster)) if protocol == PROTOCOL:
                self.hello.set_result((node, cluster))
            case _:
                raise FrameError(f"it greets with {value!r:.60}, not with protocol {PROTOCOL}")


class SocketStore:
    """A Store (see raftstore/port.py) over the socket at `path`. Connects when first used."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._prefix = uuid4().hex[:16]
        self._numbers = count(1)
        self._requests: dict[int, _Request] = {}
        self._unsent: list[int] = []
        self._connection: _Connection | None = None
        self._node = ""
        self._named = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._flush_due = self._closed = False

    # --- Store ------------------------------------------------------------------------------------

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        if not self._node and not txn.via:
            await self._greeted(timeout_s)
        number = next(self._numbers)
        if not txn.request_id or not txn.via:
            request_id = txn.request_id or f"{self._prefix}-{number}"
            txn = replace(txn, request_id=request_id, via=txn.via or self._node)
        data = codec.check_txn(txn)
        return codec.outcome_from_wire(await self._ask(number, ("submit", timeout_s, data), timeout_s))

    async def read_index(self, *, timeout_s: float = 5.0) -> int:
        return int(await self._ask(next(self._numbers), ("read", timeout_s), timeout_s))

    async def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        position, in_snapshot, from_snapshot = after, False, after in (None, OLDEST)
        while not self._closed:
            try:
                async for item in self._one_feed(position):
                    if isinstance(item, SnapshotStart):
                        in_snapshot = True
                    elif isinstance(item, SnapshotEnd):
                        in_snapshot, position = False, item.index
                    elif not in_snapshot:
                        position = max(position or 0, item.index)  # type: ignore[union-attr]
                    yield item
            except Compacted:
                if not from_snapshot:
                    raise
                position = None
            if in_snapshot:  # half of one is of no use
                position, in_snapshot = after if from_snapshot else None, False

    async def status(self) -> Status:
        return status_from_wire(await self._ask(next(self._numbers), ("status",), 5.0))

    async def close(self) -> None:
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._connection is not None:
            self._connection.abort()
        for request in self._requests.values():
            self._fail(request, Unavailable("the store's client is closed"))
        self._requests.clear()

    # --- for operators ----------------------------------------------------------------------------

    async def transfer(self, to: str) -> None:
        """See raftstore.admin.Admin; the same for those below."""
        await self._ask(next(self._numbers), ("transfer", to), 15.0)

    async def add(self, node_id: str, address: str, voter: bool = True, replaces: str = "") -> str:
        body = ("add", node_id, address, voter, replaces)
        return str(await self._ask(next(self._numbers), body, 15.0))

    async def promote(self, node_id: str) -> str:
        return str(await self._ask(next(self._numbers), ("promote", node_id), 15.0))

    async def remove(self, node_id: str) -> str:
        return str(await self._ask(next(self._numbers), ("remove", node_id), 15.0))

    async def token(self, voter: bool, node_id: str, valid_s: float, replaces: str = "") -> str:
        body = ("token", voter, node_id, valid_s, replaces)
        return str(await self._ask(next(self._numbers), body, 15.0))

    async def join(self, request: str) -> str:
        return str(await self._ask(next(self._numbers), ("join", request), 15.0))

    async def snapshot(self) -> int:
        return int(await self._ask(next(self._numbers), ("snapshot",), 300.0))

    async def backup(self) -> AsyncIterator[bytes]:
        """The bytes of a backup (raftstore/backup.py). Raises Unavailable, also when it breaks off."""
        async with aclosing(self._one_stream(("backup",))) as values:
            async for value in values:
                match value:
                    case (int(), "chunk", bytes(chunk)):
                        yield chunk
                    case (int(), "ok", _):
                        return
                    case (int(), "error", name, message, details):
                        raise error_from_wire(name, message, details)
        raise Unavailable(f"the store at {self.path} cannot be reached, or went away")

    # --- requests ---------------------------------------------------------------------------------

    async def _greeted(self, timeout_s: float) -> None:
        """Once, before the first write: whose store this is. Waiters go on in the order they came."""
        self._start()
        try:
            async with asyncio.timeout(timeout_s):
                await self._named.wait()
        except TimeoutError:
            raise Unavailable(f"the store at {self.path} cannot be reached") from None

    def _start(self) -> None:
        if self._closed:
            raise Unavailable("the store's client is closed")
        if self._keeper is None:
            self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def _ask(self, number: int, body: tuple[Any, ...], timeout_s: float) -> Any:
        self._start()
        if len(self._requests) >= limits.REQUESTS_WAITING_MAX:
            raise Overloaded(f"{len(self._requests)} requests are waiting already")
        loop = asyncio.get_running_loop()
        # The store answers at the deadline itself; ours is for a store that is away.
        request = _Request(body, loop.create_future(), loop.time() + timeout_s + 0.5)
        self._requests[number] = request
        self._unsent.append(number)
        if self._connection is not None and not self._flush_due:
            self._flush_due = True
            loop.call_soon(self._flush)
        timer = loop.call_at(request.deadline, self._late, request)
        try:
            return await request.done
        finally:
            timer.cancel()
            self._requests.pop(number, None)

    def _late(self, request: _Request) -> None:
        """The deadline has passed. What has not left, though the store is there, met a process that
        has too much to do."""
        if request.sent and request.body[0] == "submit":
            self._fail(request, UnknownOutcome("the store did not answer in time"))
        elif self._connection is None:
            self._fail(request, Unavailable(f"the store at {self.path} cannot be reached"))
        elif request.sent:
            self._fail(request, Unavailable("the store did not answer in time"))
        else:
            self._fail(request, Overloaded(f"{len(self._requests)} requests wait for their turn here"))

    @staticmethod
    def _fail(request: _Request, error: StoreError) -> None:
        if not request.done.done():
            request.done.set_exception(error)

    def _flush(self) -> None:
        """One write for all requests of one pass of the loop."""
        self._flush_due = False
        if self._connection is None:
            return
        frames = []
        for number in self._unsent:
            request = self._requests.get(number)
            if request is not None:
                request.sent = True
                frames.append((number, *request.body))
        self._unsent.clear()
        self._connection.write(*frames)

    def _answered(self, value: Value) -> None:
        match value:
            case (int(number), "ok", result):
                request = self._requests.get(number)
                if request is not None and not request.done.done():
                    request.done.set_result(result)
            case (int(number), "error", name, message, details):
                request = self._requests.get(number)
                if request is not None:
                    self._fail(request, error_from_wire(name, message, details))
            case _:
                raise ValueError("an answer of an unknown shape")

    async def _keep(self) -> None:
        """Keep one connection for requests; after a break, send again what has no answer, in order."""
        pause_s = RECONNECT_S_MIN
        while True:
            try:
                connection = await self._connect(self._answered)
            except OSError as error:
                log.debug("the store at %s: %s", self.path, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RECONNECT_S_MAX)
                continue
            pause_s = RECONNECT_S_MIN
            self._connection = connection
            self._unsent = sorted(self._requests)
            self._flush()
            await connection.closed.wait()
            self._connection = None

    async def _connect(self, on_value: Callable[[Value], None]) -> _Connection:
        loop = asyncio.get_running_loop()
        connection = _Connection()
        connection.on_value = on_value
        await loop.create_unix_connection(lambda: connection, self.path)
        self._node, _ = await connection.hello
        self._named.set()
        return connection

    # --- the feed ---------------------------------------------------------------------------------

    async def _one_feed(self, after: int | None) -> AsyncIterator[FeedItem]:
        """Items until the connection ends. Raises Compacted."""
        async with aclosing(self._one_stream(("feed", after))) as values:
            async for value in values:
                yield _item(value)

    async def _one_stream(self, request: tuple[Any, ...]) -> AsyncGenerator[Value]:
        """What comes after a request on a connection of its own, until it ends."""
        inbox: asyncio.Queue[Value] = asyncio.Queue()  # None: the connection has ended
        connection: _Connection | None = None

        def take(value: Value) -> None:
            inbox.put_nowait(value)
            if inbox.qsize() == limits.FEED_INBOX_ITEMS and connection is not None:
                connection.pause(True)

        try:
            connection = await self._connect(take)
        except OSError:
            await asyncio.sleep(RECONNECT_S_MAX / 5)
            return
        connection.on_end = lambda: inbox.put_nowait(None)
        connection.write((0, *request))
        try:
            while (value := await inbox.get()) is not None:
                if inbox.qsize() == limits.FEED_INBOX_ITEMS // 2:
                    connection.pause(False)
                yield value
        finally:
            connection.abort()


def _item(value: Value) -> FeedItem:
    match value:
        case (int(), "item", item):
            return codec.item_from_wire(item)
        case (int(), "error", name, message, details):
            raise error_from_wire(name, message, details)
    raise StoreError("the store's socket: a feed item of an unknown shape")
