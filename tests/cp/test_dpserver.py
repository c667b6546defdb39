"""gRPC and HTTP behind one TLS port, with real clients of both."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc
import grpc.aio
import pytest
import yaml
from aiohttp import web

from chaos.fakeenvoy import Connection, FakeEnvoy
from cp.bootstrap import Bootstrap, Settings
from cp.dpserver import PREFACE, DpServer
from dp.ports import free_port
from tests.certificates import Certificate, make_certificate
from tests.xds.fixtures import StaticSource, cluster, endpoints, listener, route
from tests.xds.real_envoy import running, until, upstream
from xds.effects import Send
from xds.server import AdsServer
from xds.stream import Observer
from xds.types import CLUSTER, ENDPOINT


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("dp-server"))


@dataclass
class Rig:
    server: DpServer
    port: int
    ads: AdsServer
    certificate: Certificate

    @property
    def pem(self) -> bytes:
        return Path(self.certificate.cert_path).read_bytes()

    def channel(self) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(self.pem)
        options = [("grpc.use_local_subchannel_pool", 1)]
        return grpc.aio.secure_channel(f"localhost:{self.port}", credentials, options)

    def client_context(self, alpn: Sequence[str] = ()) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.certificate.cert_path)
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@asynccontextmanager
async def serving(
    certificate: Certificate,
    source: StaticSource,
    observers: Sequence[Observer] = (),
    first_bytes_timeout: float = 5.0,
    port: int = 0,
) -> AsyncIterator[Rig]:
    ads = AdsServer(source, observers=observers)
    listening = socket.create_server(("127.0.0.1", port))
    bound: int = listening.getsockname()[1]
    settings = Settings(
        cert_pem=Path(certificate.cert_path).read_bytes(),
        listen_port=bound,
        dp_token_required=False,
        hds=False,
    )
    app = web.Application()
    app.add_routes(Bootstrap(settings, lambda kind, mesh, name: None).routes())
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.cert_path, certificate.key_path)
    server = DpServer(ads, app, tls, first_bytes_timeout)
    await server.start(listening)
    try:
        yield Rig(server, bound, ads, certificate)
    finally:
        await server.stop(0)


def mesh(count: int = 1) -> StaticSource:
    source = StaticSource()
    source.put(*(cluster(f"c{i}") for i in range(count)), *(endpoints(f"c{i}", 80) for i in range(count)))
    return source


async def test_grpc_and_http_share_the_port(certificate: Certificate) -> None:
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(serving(certificate, mesh()))
        channel = await stack.enter_async_context(rig.channel())
        connection = Connection(FakeEnvoy("default.dp-1"), channel, {})
        await connection.until(lambda envoy: "c0" in envoy.resources.get(ENDPOINT, {}))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        async with session.post(
            f"https://localhost:{rig.port}/bootstrap", json={}, ssl=rig.client_context()
        ) as response:
            assert (response.status, await response.text()) == (422, "name: cannot be empty")
        await connection.close()


async def test_several_http_requests_use_one_connection(certificate: Certificate) -> None:
    async with serving(certificate, mesh()) as rig:
        connector = aiohttp.TCPConnector(ssl=rig.client_context(), limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            for _ in range(3):
                async with session.get(f"https://localhost:{rig.port}/nothing") as response:
                    assert response.status == 404


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(["h2", "http/1.1"], "http/1.1"), (["h2"], "h2"), (["grpc-exp", "h2"], "h2"), ([], None)],
)
async def test_clients_that_offer_both_protocols_speak_http1(
    certificate: Certificate, offered: list[str], chosen: str | None
) -> None:
    async with serving(certificate, mesh()) as rig:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", rig.port, ssl=rig.client_context(offered), server_hostname="localhost"
        )
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
        writer.close()


async def test_a_preface_that_arrives_byte_by_byte_is_recognised(certificate: Certificate) -> None:
    async with serving(certificate, mesh()) as rig:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", rig.port, ssl=rig.client_context(["h2"]), server_hostname="localhost"
        )
        for byte in PREFACE + bytes.fromhex("000000040000000000"):  # then an empty SETTINGS frame
            writer.write(bytes((byte,)))
            await writer.drain()
        async with asyncio.timeout(60):
            header = await reader.readexactly(9)
        assert header[3] == 4, "gRPC answers with its SETTINGS"
        writer.close()


async def test_a_connection_that_says_nothing_is_closed(certificate: Certificate) -> None:
    async with serving(certificate, mesh(), first_bytes_timeout=0.05) as rig:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", rig.port, ssl=rig.client_context(), server_hostname="localhost"
        )
        async with asyncio.timeout(60):
            assert await reader.read() == b""
        writer.close()


async def test_a_plain_text_client_gets_nothing(certificate: Certificate) -> None:
    async with serving(certificate, mesh()) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(60):
            assert b"HTTP/1.1" not in await reader.read()
        writer.close()


async def test_a_large_configuration_passes_the_relay_whole(certificate: Certificate) -> None:
    async with serving(certificate, mesh(5000)) as rig, rig.channel() as channel:
        connection = Connection(FakeEnvoy("default.dp-1"), channel, {})
        await connection.until(lambda envoy: len(envoy.resources.get(ENDPOINT, ())) == 5000, 20)
        await connection.close()


async def test_stopping_ends_streams_and_frees_the_port(certificate: Certificate) -> None:
    async with serving(certificate, mesh()) as rig, rig.channel() as channel:
        connection = Connection(FakeEnvoy("default.dp-1"), channel, {})
        await connection.until(lambda envoy: "c0" in envoy.resources.get(CLUSTER, {}))
        await rig.server.stop(5)
        assert (await connection.ended())[0] == "UNAVAILABLE"
        socket.create_server(("127.0.0.1", rig.port)).close()


class Journal:
    """Counts streams and keeps what was sent."""

    def __init__(self) -> None:
        self.opened = 0
        self.sent: list[Send] = []

    def stream_opened(self, stream: object) -> None:
        self.opened += 1

    def stream_effect(self, stream: object, effect: object) -> None:
        if isinstance(effect, Send):
            self.sent.append(effect)

    def stream_closed(self, stream: object) -> None:
        return


@pytest.mark.envoy
@pytest.mark.process
async def test_envoy_fails_over_to_another_control_plane_and_is_sent_nothing_again(
    certificate: Certificate, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        backend, other = [await stack.enter_async_context(upstream(tag)) for tag in "AB"]
        port, source, journals = free_port(), StaticSource(), (Journal(), Journal())
        source.put(cluster("b"), endpoints("b", backend), listener("in", port, "r"), route("r", "b"))
        rigs = [
            await stack.enter_async_context(serving(certificate, source, [journal])) for journal in journals
        ]
        config = await bootstrap(rigs[0], tmp_path, [f"https://localhost:{rig.port}" for rig in rigs])
        envoy = await stack.enter_async_context(running(tmp_path, config))

        async def answers(text: str) -> None:
            async def check() -> bool:
                return (await envoy.get(port))[1] == text

            await until(check, f"the listener answers {text}")

        await answers("A")
        first = 0 if journals[0].opened else 1
        await rigs[first].server.stop(0)

        async def moved() -> bool:
            return journals[1 - first].opened > 0

        await until(moved, "Envoy turns to the other control plane")
        source.put(endpoints("b", other))
        await answers("B")
        assert [sent.names for sent in journals[1 - first].sent] == [("b",)]


async def bootstrap(rig: Rig, workdir: Path, addresses: Sequence[str]) -> dict[str, object]:
    """What this dp-server tells a proxy, with an admin port instead of the socket."""
    dataplane = {
        "type": "Dataplane",
        "mesh": "default",
        "name": "dp-1",
        "networking": {
            "address": "127.0.0.1",
            "admin": {"port": free_port()},
            "inbound": [{"port": 8080, "tags": {"kuma.io/service": "web"}}],
        },
    }
    request = {
        "host": "localhost",
        "workdir": str(workdir),
        "features": ["feature-delta-grpc"],
        "cpAddresses": list(addresses),
        "dataplaneResource": yaml.safe_dump(dataplane),
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"https://localhost:{rig.port}/bootstrap", json=request, ssl=rig.client_context()
        ) as response,
    ):
        text = await response.text()
        assert response.status == 200, text
        found: dict[str, object] = yaml.safe_load(text)
        return found


SCENARIOS = (
    test_grpc_and_http_share_the_port,
    test_several_http_requests_use_one_connection,
    test_a_preface_that_arrives_byte_by_byte_is_recognised,
    test_a_large_configuration_passes_the_relay_whole,
)


async def play(certificate: Certificate) -> None:
    for scenario in SCENARIOS:
        await scenario(certificate)


@pytest.mark.process
def test_uvloop_hands_connections_over_alike(certificate: Certificate) -> None:
    """TLS transports are the loop's own, and in production it is uvloop.

    In a process of its own: gRPC binds itself to the first kind of loop that it meets.
    """
    code = "import sys, uvloop; from tests.cp import test_dpserver as t; " + (
        "uvloop.run(t.play(t.Certificate(*sys.argv[1:])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *certificate], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
