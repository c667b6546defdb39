"""Builtin gateways: requests, TLS and bytes from outside, and members of other meshes at a door.

anybody ──> edge ──> backend          (mesh default)
visitor's Envoy ──> edge ──> backend  (meshes other and default)
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from cp.up.story import until
from dp.ports import free_ports
from tests.certificates import make_certificate
from tests.policies.conftest import show_logs
from tests.policies.harness import DEADLINE_S, HOST, World

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

MTLS = {"mtls": {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}}
EDGE = {"kuma.io/service": "edge"}
TO_MESH = {"targetRef": {"kind": "Mesh"}}
AT_EDGE = {"targetRef": {"kind": "MeshGateway", "name": "edge"}}
SECURE_HOST = "secure.test"
DOOR_HOST = "shop.mesh"


class Edge(World):
    """A gateway in front of one service, and a member of another mesh."""

    async def start(self, mesh: Mapping[str, Any]) -> None:
        await super().start(mesh)
        other = {"type": "Mesh", "name": "other", "skipCreatingInitialPolicies": ["*"], **MTLS}
        await self.call("PUT", "/meshes/other", other)
        self.http, self.https, self.tcp, self.door, self.visit = free_ports(5)
        allow = {"from": [{**TO_MESH, "default": {"action": "Allow"}}]}
        await self.put("meshtrafficpermissions", "MeshTrafficPermission", "everybody", spec=allow)
        await self._service()
        await self._gateway()
        await self._backend()
        gateway = {"gateway": {"type": "BUILTIN", "tags": EDGE}}
        await self.proxy("edge", gateway)
        await self._visitor()

    async def _service(self) -> None:
        ports = [
            {"port": 80, "targetPort": "http", "appProtocol": "http"},
            {"port": 90, "targetPort": "lines", "appProtocol": "tcp"},
        ]
        selector = {"dataplaneTags": {"kuma.io/service": "backend"}}
        identities = [{"type": "ServiceTag", "value": "backend"}]
        spec = {"selector": selector, "ports": ports, "state": "Available", "identities": identities}
        await self.put("meshservices", "MeshService", "backend", spec=spec)

    async def _gateway(self) -> None:
        pair = make_certificate(self.directory, SECURE_HOST)
        self.certificate = pair.cert_path
        pem = Path(pair.key_path).read_bytes() + Path(pair.cert_path).read_bytes()
        await self.put("secrets", "Secret", "edge-cert", data=base64.b64encode(pem).decode())
        tls = {"mode": "TERMINATE", "certificates": [{"secret": "edge-cert"}]}
        limited = {"resources": {"connectionLimit": 1}}
        listeners = [
            {"port": self.http, "protocol": "HTTP", "tags": {"port": "http"}},
            {"port": self.https, "protocol": "HTTPS", "hostname": SECURE_HOST, "tls": tls},
            {"port": self.tcp, "protocol": "TCP", **limited},
            {"port": self.door, "protocol": "HTTP", "hostname": DOOR_HOST, "crossMesh": True},
        ]
        fields = {"selectors": [{"match": EDGE}], "conf": {"listeners": listeners}}
        await self.put("meshgateways", "MeshGateway", "edge", **fields)
        refs = {"backendRefs": [{"kind": "MeshService", "name": "backend", "port": 80}]}
        match = [{"path": {"type": "PathPrefix", "value": "/served"}}]
        rules = [{"matches": match, "default": refs}]
        spec = {**AT_EDGE, "to": [{**TO_MESH, "rules": rules}]}
        await self.put("meshhttproutes", "MeshHTTPRoute", "requests", spec=spec)
        lines = {"backendRefs": [{"kind": "MeshService", "name": "backend", "port": 90}]}
        spec = {**AT_EDGE, "to": [{**TO_MESH, "rules": [{"default": lines}]}]}
        await self.put("meshtcproutes", "MeshTCPRoute", "lines", spec=spec)

    async def _backend(self) -> None:
        http, lines = free_ports(2)
        app = await self.app("backend")
        tags = {"kuma.io/service": "backend"}
        served = {"serviceAddress": HOST, "tags": tags}
        requests = {"kuma.io/protocol": "http"}
        inbound = [
            {"name": "http", "port": http, "servicePort": app.port, **served, "tags": tags | requests},
            {"name": "lines", "port": lines, "servicePort": await self.lines("backend"), **served},
        ]
        await self.proxy("backend", {"inbound": inbound})

    async def _visitor(self) -> None:
        (own,) = free_ports(1)
        app = await self.app("visitor")
        tags = {"kuma.io/service": "visitor", "kuma.io/protocol": "http"}
        inbound = {"port": own, "servicePort": app.port, "serviceAddress": HOST, "tags": tags}
        outbound = {"port": self.visit, "tags": {**EDGE, "kuma.io/mesh": "default"}}
        await self.proxy("visitor", {"inbound": [inbound], "outbound": [outbound]}, mesh="other")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(directory: Path) -> AsyncIterator[Edge]:
    world = Edge(directory)
    try:
        await world.start(MTLS)
        yield world
    except BaseException:
        show_logs(world)
        raise
    finally:
        await world.close()


@pytest_asyncio.fixture(loop_scope="module")
async def edge(started: Edge) -> AsyncIterator[Edge]:
    """The mesh for one test. After it every proxy has accepted everything that it was ever sent."""
    yield started
    await started.settled()


async def answered(edge: Edge, status: int, port: int, path: str = "/served", host: str = "") -> None:
    """Wait until a request is answered with a status."""

    async def so() -> bool:
        return (await edge.request(port, path, host=host)).status == status

    await until(f"{port}{path} is answered {status}", so, DEADLINE_S)


async def test_requests_from_outside_take_the_routes_of_the_gateway(edge: Edge) -> None:
    await answered(edge, 200, edge.http)
    assert (await edge.request(edge.http, "/served")).text == "backend"
    await answered(edge, 404, edge.http, "/elsewhere")


async def test_tls_ends_at_the_gateway(edge: Edge) -> None:
    context = ssl.create_default_context(cafile=edge.certificate)

    async def served() -> bool:
        url = f"https://{HOST}:{edge.https}/served"
        try:
            async with edge.session.get(url, ssl=context, server_hostname=SECURE_HOST) as response:
                return (response.status, await response.text()) == (404, "") and bool(response.headers)
        except aiohttp.ClientError:
            return False

    async def by_host() -> bool:
        url, host = f"https://{HOST}:{edge.https}/served", {"Host": SECURE_HOST}
        try:
            async with edge.session.get(
                url, ssl=context, server_hostname=SECURE_HOST, headers=host
            ) as response:
                return (response.status, await response.text()) == (200, "backend")
        except aiohttp.ClientError:
            return False

    await until("a verified connection is served", by_host, DEADLINE_S)
    assert await served(), "another host name is not that listener's"


async def test_connections_beyond_the_limit_of_a_listener_are_closed(edge: Edge) -> None:
    async def carried() -> bool:
        return await edge.says(edge.tcp) == "backend: hello"

    await until("bytes reach the service", carried, DEADLINE_S)

    async def limited() -> bool:
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_connection(HOST, edge.tcp)
            try:
                writer.write(b"first\n")
                first = await reader.readline()
                return first == b"backend: first\n" and await edge.says(edge.tcp) == ""
            except ConnectionError:
                return False  # the one before it was still counted
            finally:
                writer.close()

    await until("a second connection is closed while the first is open", limited, DEADLINE_S)
    await until("the next one is served", carried, DEADLINE_S)


async def test_members_of_another_mesh_come_through_the_door(edge: Edge) -> None:
    await answered(edge, 200, edge.visit, host=DOOR_HOST)
    assert (await edge.request(edge.visit, "/served", host=DOOR_HOST)).text == "backend"
    assert (await edge.request(edge.door, "/served", host=DOOR_HOST)).status == 0, "nobody else does"
    assert await edge.proxies["edge"].stat("ssl.handshake$") > 0


async def test_policies_of_one_listener_are_for_it_alone(edge: Edge) -> None:
    limit = {"local": {"http": {"requestRate": {"num": 1, "interval": "300s"}}}}
    target = {"kind": "MeshGateway", "name": "edge", "tags": {"port": "http"}}
    spec = {"targetRef": target, "to": [{**TO_MESH, "default": limit}]}
    await answered(edge, 200, edge.http)
    async with edge.policy("MeshRateLimit", spec):
        await answered(edge, 429, edge.http)
        for _ in range(3):
            await answered(edge, 200, edge.visit, host=DOOR_HOST)
    await answered(edge, 200, edge.http)
