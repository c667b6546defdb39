"""Clients that hold a connection without getting anywhere are let go, and nobody else is."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from cp.api.app import create_app
from cp.slowclients import Deadlines, Patience, Site
from tests.cp.conftest import Api
from tests.cp.test_api_crud import T1, TIMEOUT

SOON_S = 60.0  # a deadline of the test, far beyond what it takes
GET = b"GET /meshes HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_whose_time_is_over() -> None:
    deadlines: Deadlines[str] = Deadlines(10.0)
    deadlines.begin("a", 0.0)
    deadlines.begin("b", 5.0)
    deadlines.begin("a", 9.0)  # runs already
    assert deadlines.take_overdue(9.9) == []
    assert deadlines.take_overdue(10.0) == ["a"]
    assert deadlines.take_overdue(14.0) == [] and deadlines
    deadlines.end("b")
    deadlines.end("b")
    assert deadlines.take_overdue(99.0) == [] and not deadlines


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 9))))
def test_nobody_is_overdue_before_time_and_everybody_is_after(
    steps: list[tuple[str, bool, float]],
) -> None:
    deadlines: Deadlines[str] = Deadlines(10.0)
    since: dict[str, float] = {}
    now = 0.0
    for who, begins, later in steps:
        now += later
        over = [each for each in since if now - since[each] >= 10.0]
        assert deadlines.take_overdue(now) == over
        for each in over:
            del since[each]
        if begins:
            deadlines.begin(who, now)
            since.setdefault(who, now)
        else:
            deadlines.end(who)
            since.pop(who, None)


@asynccontextmanager
async def served(
    api: Api, head_s: float = SOON_S, write_s: float = SOON_S
) -> AsyncIterator[tuple[int, Patience]]:
    """The API on a port of its own, and who is waited for there."""
    runner = web.AppRunner(create_app(api.worker.context), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    opened = socket.create_server(("127.0.0.1", 0))
    opened.setblocking(False)
    site = Site(runner, opened, ssl_context=None, backlog=16, head_s=head_s, write_s=write_s)
    await site.start()
    try:
        yield opened.getsockname()[1], site.patience
    finally:
        await runner.cleanup()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not holds():
            await asyncio.sleep(0.01)


async def answer_of(reader: asyncio.StreamReader) -> bytes:
    """The next answer with its body, which has to have a length."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON_S)
    [length] = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await asyncio.wait_for(reader.readexactly(int(length.split(b":")[1])), SOON_S)


@pytest.mark.parametrize("sent", [b"", b"GET /meshes HTTP/1.1\r\nHost: local"])
async def test_half_a_head_is_not_waited_for(api: Api, sent: bytes) -> None:
    async with served(api, head_s=0.3) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), SOON_S) == b""
        writer.close()


async def test_only_heads_are_waited_for(api: Api) -> None:
    """Not the pause between two requests: that is the idle timeout's matter."""
    async with served(api) as (port, patience):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: bool(patience.heads))
        for _ in range(2):
            writer.write(GET[:9])
            await until(lambda: bool(patience.heads))
            writer.write(GET[9:])
            assert (await answer_of(reader)).startswith(b"HTTP/1.1 200")
            assert not patience.heads and not patience.writes
        writer.write(GET[:9])
        await until(lambda: bool(patience.heads))
        writer.close()
        await until(lambda: not patience.heads)


async def test_a_watch_has_all_the_time_that_it_wants(api: Api) -> None:
    await api.mesh()
    async with served(api) as (port, patience):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET.replace(b"/meshes", b"/meshtimeouts?watch=true"))
        await asyncio.wait_for(reader.readuntil(b"snapshot"), SOON_S)
        assert not patience.heads and not patience.writes
        await api.put(T1, TIMEOUT)
        await asyncio.wait_for(reader.readuntil(b"event: commit"), SOON_S)
        writer.close()


async def test_who_reads_nothing_is_let_go(api: Api) -> None:
    await api.mesh()
    policies = "/meshes/default/meshtimeouts"
    for n in range(50):  # an answer of half a megabyte: more than the buffers between the two hold together
        labels = {f"l{k}": "x" * 60 for k in range(100)}
        body = TIMEOUT | {"name": f"t{n}", "labels": labels}
        assert (await api.put(f"{policies}/t{n}", body)).status == 201
    async with served(api, write_s=0.3) as (port, patience):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", port))
        request = GET.replace(b"/meshes", policies.encode())
        await loop.sock_sendall(client, request * 100)
        await until(lambda: bool(patience.writes))
        async with asyncio.timeout(SOON_S):
            with pytest.raises(ConnectionError):
                while True:  # what is sent after the connection was cut is answered by a reset
                    await loop.sock_sendall(client, b"\r\n")
                    await asyncio.sleep(0.05)
        assert not patience.writes
        client.close()
