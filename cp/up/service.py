"""The demo services, each its own process: `backend` says which version it is, `web` asks it.

python -m cp.up.service --name backend --version v1 --port 9001
python -m cp.up.service --name web --port 9000 --upstream http://127.0.0.1:10001
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal

import aiohttp
from aiohttp import web

UPSTREAM_TIMEOUT_S = 5.0

_SESSION = web.AppKey("session", aiohttp.ClientSession)


def make_app(name: str, version: str, upstream: str | None) -> web.Application:
    """`GET /` answers `{"service", "version"}`, and for a service with an upstream its answer too."""

    async def answer(request: web.Request) -> web.Response:
        body: dict[str, object] = {"service": name, "version": version}
        if upstream is None:
            return web.json_response(body)
        try:
            async with request.app[_SESSION].get(upstream + request.path_qs) as response:
                if response.status != 200:
                    return web.json_response({**body, "error": await response.text()}, status=response.status)
                body["upstream"] = await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            return web.json_response({**body, "error": f"upstream: {error!r}"}, status=502)
        return web.json_response(body)

    async def session(app: web.Application):  # type: ignore[no-untyped-def]
        timeout = aiohttp.ClientTimeout(total=UPSTREAM_TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as client:
            app[_SESSION] = client
            yield

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    app.cleanup_ctx.append(session)
    return app


async def serve(app: web.Application, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="a demo service")
    parser.add_argument("--name", required=True)
    parser.add_argument("--version", default="v1")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", default=None, help="URL that every request asks first")
    args = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(make_app(args.name, args.version, args.upstream), args.host, args.port))


if __name__ == "__main__":
    main()
