"""Clients that hold a connection without getting anywhere: time limits that aiohttp does not have.

Kuma's server (Go's) gives the head of a request one second and an answer thirty. aiohttp knows neither: a
client that sends half a head, or that does not read what it is sent, keeps its connection for ever. So a
connection is wrapped: the wrapper sees when bytes come and when the writer has to pause, and the
application's middleware tells it when a head was read and when the request is answered.

A write is given time from when it has to pause for the client, not from its beginning, so that a watch may
live for days while somebody reads it. `Deadlines` is the pure part; one timer per site looks after all its connections.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Hashable
from typing import Generic, TypeVar, cast

from aiohttp import web

from cp.limits import API_HEAD_S, API_WRITE_S

C = TypeVar("C", bound=Hashable)


class Deadlines(Generic[C]):
    """Who has to be done with something within the same time, in the order of beginning."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._since: dict[C, float] = {}

    def __bool__(self) -> bool:
        return bool(self._since)

    def begin(self, who: C, now: float) -> None:
        """Time runs from here; from where it ran already, if it does. Seconds of one clock."""
        self._since.setdefault(who, now)

    def end(self, who: C) -> None:
        """Done, or never begun."""
        self._since.pop(who, None)

    def take_overdue(self, now: float) -> list[C]:
        """Whose time is over; they are forgotten."""
        found = []
        for who, since in self._since.items():
            if now - since < self.timeout_s:
                break  # the others began later
            found.append(who)
        for who in found:
            del self._since[who]
        return found


class Patience:
    """The time that the connections of one site are given."""

    def __init__(self, head_s: float, write_s: float) -> None:
        self.heads: Deadlines[Connection] = Deadlines(head_s)
        self.writes: Deadlines[Connection] = Deadlines(write_s)
        self._loop = asyncio.get_running_loop()
        self._every_s = min(head_s, write_s) / 4
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, deadlines: Deadlines[Connection], connection: Connection) -> None:
        deadlines.begin(connection, self._loop.time())
        if self._timer is None:
            self._timer = self._loop.call_later(self._every_s, self._look)

    def _look(self) -> None:
        now = self._loop.time()
        for connection in self.heads.take_overdue(now):
            connection.transport.close()
        for connection in self.writes.take_overdue(now):
            connection.transport.abort()  # what is not read cannot be waited for
        busy = self.heads or self.writes
        self._timer = self._loop.call_later(self._every_s, self._look) if busy else None


class Connection(asyncio.Protocol):
    """One connection: all of it goes to aiohttp's protocol, beside which time is watched."""

    transport: asyncio.Transport

    def __init__(self, inner: asyncio.Protocol, patience: Patience) -> None:
        self._inner = inner
        self._patience = patience
        self._is_idle = False

    # --- what the application tells -------------------------------------------------------

    def head_read(self) -> None:
        """A request's head is complete: its handler has all the time that it wants."""
        self._patience.heads.end(self)

    def answered(self) -> None:
        """The next byte begins the head of the next request."""
        self._is_idle = True

    # --- what the transport tells ---------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._patience.begin(self._patience.heads, self)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._is_idle:
            self._is_idle = False
            self._patience.begin(self._patience.heads, self)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._patience.begin(self._patience.writes, self)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._patience.writes.end(self)
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.heads.end(self)
        self._patience.writes.end(self)
        self._inner.connection_lost(exc)


def connection_of(request: web.Request) -> Connection | None:
    """The connection of a request, if its time is watched."""
    protocol = request.transport.get_protocol() if request.transport is not None else None
    return protocol if isinstance(protocol, Connection) else None


class Site(web.BaseSite):
    """A listening socket whose clients are given so much time. Its application's middleware has to tell
    each connection when a head was read, and when the request is answered."""

    def __init__(
        self,
        runner: web.BaseRunner,
        opened: socket.socket,
        *,
        ssl_context: ssl.SSLContext | None,
        backlog: int,
        head_s: float = API_HEAD_S,
        write_s: float = API_WRITE_S,
    ) -> None:
        super().__init__(runner, ssl_context=ssl_context, backlog=backlog)
        self._opened = opened
        self.patience = Patience(head_s, write_s)

    @property
    def name(self) -> str:
        return str(self._opened.getsockname())

    async def start(self) -> None:
        await super().start()
        server = self._runner.server
        assert server is not None, "the base class refuses a runner that is not set up"
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(server(), self.patience),
            sock=self._opened,
            ssl=self._ssl_context,
            backlog=self._backlog,
        )
