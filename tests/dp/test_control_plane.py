"""Fetching a bootstrap, against real HTTPS servers on loopback."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from dp.control_plane import BOOTSTRAP_BYTES_MAX, bootstrap_request, fetch_bootstrap
from dp.errors import NoControlPlane, Refused
from dp.options import Options
from tests.certificates import Certificate, make_certificate

Handler = Callable[[web.Request], Awaitable[web.Response]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("cp"))


@asynccontextmanager
async def control_plane(certificate: Certificate, handler: Handler):  # type: ignore[no-untyped-def]
    app = web.Application()
    app.router.add_post("/bootstrap", handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_path, certificate.key_path)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"https://localhost:{port}"
    finally:
        await runner.cleanup()


def options(certificate: Certificate, *addresses: str, timeout_s: float = 10.0) -> Options:
    return Options(
        cp_addresses=addresses,
        name="web-1",
        mesh="default",
        resource={"type": "Dataplane", "name": "web-1"},
        ca_cert=Path(certificate.cert_path).read_bytes(),
        work_dir=Path("/tmp"),
        bootstrap_timeout_s=timeout_s,
        backoff_max_s=0.05,
    )


def answering(body: bytes, *statuses: int) -> Handler:
    """A handler that answers with each status in turn, and with the last one from then on."""
    left = list(statuses)

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=left.pop(0) if len(left) > 1 else left[0], body=body)

    return handler


async def test_the_first_control_plane_that_answers_wins(certificate: Certificate) -> None:
    async with AsyncExitStack() as stack:
        dead = "https://localhost:1"
        failing = await stack.enter_async_context(control_plane(certificate, answering(b"no quorum", 503)))
        good = await stack.enter_async_context(control_plane(certificate, answering(b"node: {}", 200)))
        found = await fetch_bootstrap(options(certificate, dead, failing, good), "1.40.0", time.monotonic)
    assert found == b"node: {}"


async def test_it_asks_again_until_the_proxy_is_known(certificate: Certificate) -> None:
    async with control_plane(certificate, answering(b"ok", 404, 404, 200)) as address:
        assert await fetch_bootstrap(options(certificate, address), "1.40.0", time.monotonic) == b"ok"


@pytest.mark.parametrize("status", [400, 401, 403, 422])
async def test_a_final_refusal_ends_at_once_with_the_reason(certificate: Certificate, status: int) -> None:
    async with control_plane(certificate, answering(b"token required", status)) as address:
        with pytest.raises(Refused, match="token required"):
            await fetch_bootstrap(options(certificate, address), "1.40.0", time.monotonic)


async def test_without_any_control_plane_it_says_why_for_each(certificate: Certificate) -> None:
    dead = ("https://localhost:1", "https://localhost:2")
    with pytest.raises(NoControlPlane, match=r"localhost:1.*localhost:2"):
        await fetch_bootstrap(options(certificate, *dead, timeout_s=0.0), "1.40.0", time.monotonic)


async def test_a_control_plane_of_another_ca_is_not_trusted(certificate: Certificate, tmp_path: Path) -> None:
    stranger = make_certificate(tmp_path)
    async with control_plane(stranger, answering(b"evil", 200)) as address:
        with pytest.raises(NoControlPlane, match=r"certificate .*--ca-cert-file"):
            await fetch_bootstrap(options(certificate, address, timeout_s=0.0), "1.40.0", time.monotonic)


async def test_an_endless_bootstrap_is_refused(certificate: Certificate) -> None:
    async with control_plane(certificate, answering(b"x" * (BOOTSTRAP_BYTES_MAX + 1), 200)) as address:
        with pytest.raises(Refused, match="larger than"):
            await fetch_bootstrap(options(certificate, address), "1.40.0", time.monotonic)


async def test_the_request_carries_what_the_control_plane_needs(certificate: Certificate) -> None:
    asked: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    async def handler(request: web.Request) -> web.Response:
        asked.set_result(await request.json())
        return web.Response(body=b"ok")

    async with control_plane(certificate, handler) as address:
        await fetch_bootstrap(options(certificate, address), "1.40.0", time.monotonic)
    body = asked.result()
    assert (body["mesh"], body["name"], body["proxyType"], body["host"]) == (
        "default",
        "web-1",
        "dataplane",
        "localhost",
    )
    assert body["dataplaneResource"] == '{"type": "Dataplane", "name": "web-1"}'
    assert "feature-delta-grpc" in body["features"]  # type: ignore[operator]


def test_a_proxy_without_a_file_sends_no_resource() -> None:
    request = bootstrap_request(Options(cp_addresses=("https://a:1",), name="n", mesh="m"), "a", "1.40.0")
    assert "dataplaneResource" not in request
    assert "caCert" not in request


def test_a_port_for_the_admin_listener_is_offered_unless_nobody_wants_one() -> None:
    def offered(port: int | None) -> object:
        made = Options(cp_addresses=("https://a:1",), name="n", mesh="m", admin_port=port)
        return bootstrap_request(made, "a", "1.40.0").get("adminPort")

    assert offered(9901) == 9901
    assert offered(0) is None
    assert isinstance(free := offered(None), int) and free > 0
