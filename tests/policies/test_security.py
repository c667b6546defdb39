"""Who may talk to whom, and how: mTLS between real Envoys.

The certificates are issued by an authority of the test, through the same seam that the control plane's
own authorities use; what the proxies make of them is the policies' doing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cp.up.story import until
from tests.policies.authority import Authority
from tests.policies.conftest import show_logs
from tests.policies.harness import DEADLINE_S, HOST, Services

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

MTLS = {"mtls": {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}}
AT_V1 = {"targetRef": {"kind": "Dataplane", "name": "backend-v1"}}
WEB = {"kind": "MeshSubset", "tags": {"kuma.io/service": "web"}}


def allowing(client: Mapping[str, Any], action: str = "Allow") -> Any:
    return {"from": [{"targetRef": client, "default": {"action": action}}]}


class Secured(Services):
    """The usual mesh with mTLS, in which everybody may talk to everybody to begin with."""

    def identities(self) -> Mapping[str, Any]:
        return {"identities": [{"type": "ServiceTag", "value": "backend"}]}

    async def prepare(self) -> None:
        await self.put(
            "meshtrafficpermissions", "MeshTrafficPermission", "everybody", spec=allowing({"kind": "Mesh"})
        )


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(directory: Path, authority: Authority) -> AsyncIterator[Services]:
    services = Secured(directory, authority)
    try:
        await services.start(MTLS)
        yield services
    except BaseException:
        show_logs(services)
        raise
    finally:
        await services.close()


async def statuses(mesh: Services, wanted: tuple[int, int]) -> None:
    """Wait until requests from web to the two backends are answered like this."""

    async def answered() -> bool:
        return wanted == (
            (await mesh.request(mesh.ports.v1)).status,
            (await mesh.request(mesh.ports.v2)).status,
        )

    await until(f"the backends answer {wanted}", answered)


async def test_traffic_is_encrypted(mesh: Services) -> None:
    """Plain requests to an inbound are not answered; those through a proxy of the mesh are."""
    assert (await mesh.request(mesh.inbounds["v1"])).status == 0
    await statuses(mesh, (200, 200))
    assert await mesh.proxies["backend-v1"].stat("ssl.handshake$") > 0


async def test_meshtrafficpermission_denies_with_403(mesh: Services) -> None:
    async with mesh.policy("MeshTrafficPermission", {**AT_V1, **allowing(WEB, "Deny")}):
        await statuses(mesh, (403, 200))
        seen = len(mesh.apps["v1"].seen)
        assert "RBAC" in (await mesh.request(mesh.ports.v1)).text
        assert len(mesh.apps["v1"].seen) == seen
    await statuses(mesh, (200, 200))


async def test_meshtrafficpermission_closes_tcp_connections(mesh: Services) -> None:
    assert await mesh.says(mesh.ports.lines) == "v1: hello"
    async with mesh.policy("MeshTrafficPermission", {**AT_V1, **allowing(WEB, "Deny")}):

        async def closed() -> bool:
            return await mesh.says(mesh.ports.lines) == ""

        await until("the connection is closed", closed)


async def test_without_a_meshtrafficpermission_nobody_may(mesh: Services) -> None:
    path = "/meshes/default/meshtrafficpermissions/everybody"
    await mesh.call("DELETE", path)
    try:
        await statuses(mesh, (403, 403))
        async with mesh.policy("MeshTrafficPermission", {**AT_V1, **allowing(WEB)}):
            await statuses(mesh, (200, 403))
    finally:
        body = {"type": "MeshTrafficPermission", "mesh": "default", "name": "everybody"}
        await mesh.call("PUT", path, body | {"spec": allowing({"kind": "Mesh"})})
    await statuses(mesh, (200, 200))


async def handshake(
    mesh: Services, authority: Authority, directory: Path, highest: ssl.TLSVersion
) -> str | None:
    """The TLS version that v1's proxy agrees to with a client of the mesh; None when it refuses."""
    chain, key = authority.issue(["spiffe://default/web"])
    file = directory / "client.pem"
    file.write_bytes(chain + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=authority.root.decode())
    context.load_cert_chain(file)
    context.set_alpn_protocols(["kuma"])
    context.maximum_version = highest
    try:
        async with asyncio.timeout(DEADLINE_S):
            _, writer = await asyncio.open_connection(HOST, mesh.inbounds["v1"], ssl=context)
    except (ssl.SSLError, ConnectionError):
        return None
    version = str(writer.get_extra_info("ssl_object").version())
    writer.close()
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
    return version


async def test_meshtls_enforces_the_lowest_version(
    mesh: Services, authority: Authority, tmp_path: Path
) -> None:
    assert await handshake(mesh, authority, tmp_path, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    versions = {"tlsVersion": {"min": "TLS13", "max": "TLS13"}}
    async with mesh.policy("MeshTLS", {"rules": [{"default": versions}]}):

        async def refused() -> bool:
            return await handshake(mesh, authority, tmp_path, ssl.TLSVersion.TLSv1_2) is None

        await until("a client of TLS 1.2 is refused", refused)
        assert await handshake(mesh, authority, tmp_path, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        await statuses(mesh, (200, 200))


async def test_meshtls_lets_plain_traffic_in_when_permissive(mesh: Services) -> None:
    async with mesh.policy("MeshTLS", {**AT_V1, "rules": [{"default": {"mode": "Permissive"}}]}):

        async def plain() -> bool:
            return (await mesh.request(mesh.inbounds["v1"])).text == "v1"

        await until("a plain request is answered", plain)
        await statuses(mesh, (200, 200))
        assert (await mesh.request(mesh.inbounds["v2"])).status == 0
