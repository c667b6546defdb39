"""A replica's store, served to its worker processes over a Unix socket. The client is client.py.

Frames are those of frames.py. The server speaks first: ("hello", protocol, node, cluster).
Then, by connection, either requests that are answered in any order:

    (id, "submit", timeout_s, transaction)    (id, "ok", outcome)
    (id, "read", timeout_s)                   (id, "ok", index)
    (id, "status")                            (id, "ok", status)
    (id, "transfer" | "add" | "promote" | ..., argument, ...)
                                              (id, "error", name, message, details)

or, after (id, "feed", after or None), feed items one way, until either side closes:

    (id, "item", item)

or, after (id, "backup"), chunks of it and an end:

    (id, "chunk", bytes)                      (id, "ok", "end")

A reader that is slow is not queued for: the feed's list is the queue, and the socket's
buffer is what back-pressure measures. The socket belongs to the user (0600), who could
read the data directory as well; so there are limits, but no authentication.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

from raftstore import codec, limits
from raftstore.backup import stream
from raftstore.errors import StoreError
from raftstore.frames import FrameDecoder, FrameError, Value, encode
from raftstore.port import Status
from raftstore.replica import Replica
from raftstore.transport import AddressInUse
from raftstore.types import FeedItem, Outcome
from raftstore.wire import error_to_wire, status_to_wire

log = logging.getLogger(__name__)

PROTOCOL = 1


class Service:
    """Listens at `path` for one replica."""

    def __init__(self, replica: Replica, path: str) -> None:
        self.replica = replica
        self._path = Path(path)
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._item: tuple[int, FeedItem | None, bytes] = (0, None, b"")

    def item_frame(self, number: int, item: FeedItem) -> bytes:
        """One feed item as a frame. A thousand readers of one commit have it encoded once."""
        known, last, frame = self._item
        if item is not last or number != known:
            value = (number, "item", codec.item_to_wire(item))
            frame = encode(value, limits.SOCKET_FRAME_BYTES_MAX)
            self._item = number, item, frame
        return frame

    async def start(self) -> None:
        """Raises AddressInUse when the path cannot be bound. A dead process's socket is replaced."""
        loop = asyncio.get_running_loop()
        try:
            listening = _bind(self._path)
            self._server = await loop.create_unix_server(lambda: Connection(self), sock=listening)
        except OSError as error:
            raise AddressInUse(f"socket {self._path}: {error.strerror or error}") from error

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def opened(self, connection: Connection) -> None:
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        self._connections.discard(connection)


class Connection(asyncio.Protocol):
    """One worker's connection."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._replica = service.replica
        self._decoder = FrameDecoder(limits.SOCKET_FRAME_BYTES_MAX)
        self._out: list[bytes] = []
        self._tasks: set[asyncio.Future[Any]] = set()
        self._writable = asyncio.Event()
        self._writable.set()
        self._wire: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    # --- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast(asyncio.Transport, transport)
        self._service.opened(self)
        self._send(("hello", PROTOCOL, self._replica.id, self._replica.cluster_id))

    def data_received(self, data: bytes) -> None:
        self._decoder.feed(data)
        try:
            while (item := self._decoder.next()) is not None:
                self._request(item[0])
        except FrameError as error:
            log.warning("a worker's connection is closed: %s", error)
            self.close()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._wire = None
        self._writable.set()
        self._service.closed(self)
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        if self._wire is not None:
            self._flush()
            self._wire.close()

    # --- requests ---------------------------------------------------------------------------------

    def _request(self, value: Value) -> None:
        match value:
            case (int(number), "submit", (int() | float()) as timeout_s, bytes(txn)):
                self._submit(number, float(timeout_s), txn)
            case (int(number), "read", (int() | float()) as timeout_s):
                self._replica.read_index_nowait(float(timeout_s), lambda r: self._answer(number, r))
            case (int(number), "feed", (None | int()) as after):
                self._spawn(self._feed(number, after))
            case (int(number), "status"):
                self._spawn(self._do(number, self._replica.status()))
            case (int(number), "transfer", str(to)):
                self._spawn(self._do(number, self._replica.admin.transfer(to)))
            case (int(number), "add", str(node_id), str(address), bool(voter), str(old)):
                self._spawn(self._do(number, self._replica.admin.add(node_id, address, voter, old)))
            case (int(number), "backup"):
                self._spawn(self._backup(number))
            case (int(number), "token", bool(voter), str(node_id), (int() | float()) as valid_s, str(old)):
                self._spawn(self._do(number, self._replica.admin.token(voter, node_id, float(valid_s), old)))
            case (int(number), "join", str(request)):
                self._spawn(self._do(number, self._replica.admin.join(request)))
            case (int(number), "promote", str(node_id)):
                self._spawn(self._do(number, self._replica.admin.promote(node_id)))
            case (int(number), "remove", str(node_id)):
                self._spawn(self._do(number, self._replica.admin.remove(node_id)))
            case (int(number), "snapshot"):
                self._spawn(self._do(number, self._replica.admin.snapshot()))
            case _:
                raise FrameError("an unknown request")

    def _submit(self, number: int, timeout_s: float, txn: bytes) -> None:
        try:
            self._replica.submit_encoded(txn, timeout_s, lambda result: self._answer(number, result))
        except StoreError as error:
            self._answer(number, error)

    async def _do(self, number: int, work: Awaitable[object]) -> None:
        try:
            self._answer(number, await work)
        except StoreError as error:
            self._answer(number, error)

    async def _feed(self, number: int, after: int | None) -> None:
        try:
            async for item in self._replica.feed(after):
                await self._writable.wait()
                if self._wire is None:
                    return
                self._send_frame(self._service.item_frame(number, item))
            self.close()  # the store is closing; the reader comes back to the next one
        except StoreError as error:
            self._answer(number, error)

    async def _backup(self, number: int) -> None:
        try:
            async for chunk in stream(self._replica):
                await self._writable.wait()
                if self._wire is None:
                    return
                self._send((number, "chunk", chunk))
            self._answer(number, "end")
        except StoreError as error:
            self._answer(number, error)

    # --- answers ------------------------------------------------------------------------------------

    def _answer(self, number: int, result: object) -> None:
        if isinstance(result, StoreError):
            self._send((number, "error", *error_to_wire(result)))
        elif isinstance(result, Outcome):
            self._send((number, "ok", codec.outcome_to_wire(result)))
        elif isinstance(result, Status):
            self._send((number, "ok", status_to_wire(result)))
        else:
            self._send((number, "ok", result))

    def _send(self, value: object) -> None:
        if self._wire is not None:
            self._send_frame(encode(value, limits.SOCKET_FRAME_BYTES_MAX))

    def _send_frame(self, frame: bytes) -> None:
        """Frames of one pass of the loop leave in one write."""
        if self._wire is None:
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frame)

    def _flush(self) -> None:
        if self._out and self._wire is not None:
            self._wire.write(b"".join(self._out))
        self._out.clear()

    def _spawn(self, work: Any) -> None:
        if len(self._tasks) >= limits.REQUESTS_WAITING_MAX:
            raise FrameError("too many requests without an answer")
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        """Whoever waits for an answer that will not come learns it by the end of the connection."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a worker's connection is closed: %r", error, exc_info=error)
            self.close()


def _bind(path: Path) -> socket.socket:
    """A listening socket at `path`, 0600 from its first moment."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_socket():
            _unlink_if_dead(path)
        before = os.umask(0o177)
        try:
            listening.bind(str(path))
        finally:
            os.umask(before)
        listening.listen(128)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _unlink_if_dead(path: Path) -> None:
    """A socket that nobody listens at is left over from a killed process."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
