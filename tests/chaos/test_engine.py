"""Which version of the Docker Engine's API is spoken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web

from chaos.engine import Engine, version_for


def test_an_engine_is_spoken_to_in_a_version_that_it_knows() -> None:
    assert version_for({"ApiVersion": "1.41", "MinAPIVersion": "1.12"}) == "/v1.41"
    assert version_for({"ApiVersion": "1.52", "MinAPIVersion": "1.44"}) == "/v1.44"
    assert version_for({}) == "/v1.41"


@pytest.mark.parametrize(("oldest", "spoken"), [("1.24", "/v1.41"), ("1.44", "/v1.44")])
async def test_it_is_asked_first(tmp_path: Path, oldest: str, spoken: str) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        told = {"MinAPIVersion": oldest} if request.path == "/version" else []
        return web.Response(text=json.dumps(told))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    socket = tmp_path / "docker.sock"
    await web.UnixSite(runner, str(socket)).start()
    try:
        async with Engine(socket) as engine:
            assert await engine.containers(["a=b"]) == []
    finally:
        await runner.cleanup()
    assert asked == ["/version", f"{spoken}/containers/json"]
