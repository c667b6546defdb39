"""Runs `raftmesh` as a person does, against a worker that serves real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

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
