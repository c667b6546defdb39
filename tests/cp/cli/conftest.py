"""Runs `raftmesh` as a person does, against a worker that serves real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from aiohttp import web

from cp.cli import main
from tests.cp.conftest import Api


@dataclass
class Ran:
    status: int
    out: str
    err: str


Cli = Callable[..., Awaitable[Ran]]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """`await cli("get", "meshes", api=api)`: the command in a thread, since it runs a loop of its own."""

    async def run(*arguments: str, api: Api | None = None) -> Ran:
        connection = ("--cp-address", api.base) if api else ()
        status = await asyncio.to_thread(main, [*arguments, *connection])
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Host = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    """`address = await host(handler)`: a server of the test's own, for answers that no control plane gives."""
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()
