"""Who may talk to whom, and how: mTLS between real Envoys.

The certificates are the control plane's own: the mesh has a builtin authority, and renews often.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from cp.ca.backends import backend_of
from cp.ca.x509 import Authority
from cp.up.story import until
from tests.policies.conftest import show_logs
from tests.policies.harness import DEADLINE_S, HOST, Seen, Services

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

# Renewed after 24 s; a busy machine has 6 s to do it.
RENEWED = {"rotation": {"expiration": "30s"}}
BACKEND = {"name": "ca-1", "type": "builtin", "dpCert": RENEWED}
MTLS = {"mtls": {"enabledBackend": "ca-1", "backends": [BACKEND]}}
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


def by_identity(**lists: tuple[str, str]) -> Any:
    """A permission whose lists each hold one (type, SPIFFE ID)."""
    default = {name: [{"spiffeID": {"type": kind, "value": value}}] for name, (kind, value) in lists.items()}
    return {"rules": [{"default": default}]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(directory: Path) -> AsyncIterator[Services]:
    services = Secured(directory)
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


WEB_ID = "spiffe://default/web"


@pytest.mark.parametrize(
    ("lists", "status"),
    [
        ({"allow": ("Exact", WEB_ID)}, 200),
        ({"allow": ("Prefix", "spiffe://default/")}, 200),
        ({"allow": ("Exact", "spiffe://default/we")}, 403),
        ({"allow": ("Prefix", "spiffe://other/")}, 403),
        ({"allow": ("Prefix", "spiffe://default/"), "deny": ("Exact", WEB_ID)}, 403),
        ({"allowWithShadowDeny": ("Exact", WEB_ID)}, 200),
    ],
)
async def test_meshtrafficpermission_by_identity(
    mesh: Services, lists: dict[str, tuple[str, str]], status: int
) -> None:
    everybody = ("Prefix", "spiffe://default/")
    before = by_identity(allow=everybody) if status == 403 else by_identity(deny=everybody)
    async with mesh.policy("MeshTrafficPermission", {**AT_V1, **before}):
        await statuses(mesh, (603 - status, 200))
        await mesh.put(
            "meshtrafficpermissions", "MeshTrafficPermission", "tried", spec={**AT_V1, **by_identity(**lists)}
        )
        await statuses(mesh, (status, 200))
    await mesh.settled()


async def test_meshtrafficpermission_by_identity_of_bytes(mesh: Services) -> None:
    lists = {"allow": ("Prefix", "spiffe://default/"), "deny": ("Exact", WEB_ID)}
    async with mesh.policy("MeshTrafficPermission", {**AT_V1, **by_identity(**lists)}):

        async def closed() -> bool:
            return await mesh.says(mesh.ports.lines) == ""

        await until("the connection is closed", closed)
    async with mesh.policy("MeshTrafficPermission", {**AT_V1, **by_identity(allow=("Exact", WEB_ID))}):

        async def open_again() -> bool:
            return await mesh.says(mesh.ports.lines) == "v1: hello"

        await until("the connection is served", open_again)


def for_caller(identity: str, default: Any, others: Any = None) -> Any:
    """Rules at v1 for one caller, and for everybody else."""
    found = [{"matches": [{"spiffeID": {"type": "Exact", "value": identity}}], "default": default}]
    return {**AT_V1, "rules": found + ([{"default": others}] if others is not None else [])}


OTHER_ID = "spiffe://default/other"


async def test_meshtimeout_of_one_caller(mesh: Services) -> None:
    async def slow(seen: Seen) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(text="late")

    mesh.apps["v1"].answer = slow
    short, long = ({"http": {"requestTimeout": text}} for text in ("100ms", "20s"))
    async with mesh.policy("MeshTimeout", for_caller(WEB_ID, short, long)):
        await statuses(mesh, (504, 200))
        await mesh.put("meshtimeouts", "MeshTimeout", "tried", spec=for_caller(OTHER_ID, short, long))
        await statuses(mesh, (200, 200))


async def test_meshratelimit_of_one_caller(mesh: Services) -> None:
    rates = [{"local": {"http": {"requestRate": {"num": num, "interval": "300s"}}}} for num in (1, 100_000)]
    async with mesh.policy("MeshRateLimit", for_caller(WEB_ID, *rates)):
        await statuses(mesh, (429, 200))
        await mesh.put("meshratelimits", "MeshRateLimit", "tried", spec=for_caller(OTHER_ID, *rates))

        async def unlimited() -> bool:  # more than the one request that the other rule lets pass
            return [(await mesh.request(mesh.ports.v1)).status for _ in range(5)] == [200] * 5

        await until("requests are not limited", unlimited)


async def test_meshfaultinjection_of_one_caller(mesh: Services) -> None:
    def abort(status: int) -> Any:
        return {"http": [{"abort": {"httpStatus": status, "percentage": 100}}]}

    async with mesh.policy("MeshFaultInjection", for_caller(WEB_ID, abort(418), abort(451))):
        await statuses(mesh, (418, 200))
        spec = for_caller(OTHER_ID, abort(418), abort(451))
        await mesh.put("meshfaultinjections", "MeshFaultInjection", "tried", spec=spec)
        await statuses(mesh, (451, 200))


async def test_meshaccesslog_of_one_caller(mesh: Services) -> None:
    """Requests and connections, each in the file of the rule that is for its caller."""
    paths = [mesh.directory / name for name in ("caller.log", "others.log")]
    plain = {"type": "Plain", "plain": "%PROTOCOL%|%REQ(:PATH)%"}
    of_web, of_others = (
        {"backends": [{"type": "File", "file": {"path": str(path), "format": plain}}]} for path in paths
    )

    async def logged(path: Path) -> None:
        async def so() -> bool:
            await mesh.request(mesh.ports.v1, "/by-caller")
            await mesh.says(mesh.ports.lines)
            lines = path.read_text().splitlines() if path.exists() else []
            return "HTTP/2|/by-caller" in lines and "-|-" in lines

        await until(f"{path.name} has a request and a connection", so, DEADLINE_S)

    async with mesh.policy("MeshAccessLog", for_caller(WEB_ID, of_web, of_others)):
        await logged(paths[0])
        assert not paths[1].exists() or not paths[1].read_text()
        spec = for_caller(OTHER_ID, of_web, of_others)
        await mesh.put("meshaccesslogs", "MeshAccessLog", "tried", spec=spec)
        await logged(paths[1])


async def serials(mesh: Services, proxy: str) -> set[str]:
    """The numbers of the certificates that a proxy holds; a listener that drains may keep an old one."""
    _, text = await mesh.proxies[proxy].admin.request("GET", "/certs")
    found = json.loads(text)["certificates"]
    return {each["serial_number"] for part in found for each in part.get("cert_chain") or ()}


async def test_certificates_are_renewed_while_requests_go_on(mesh: Services) -> None:
    before = {proxy: await serials(mesh, proxy) for proxy in ("web", "backend-v1")}
    assert all(before.values())

    async def renewed() -> bool:
        assert (await mesh.request(mesh.ports.v1)).status == 200
        return all([await serials(mesh, proxy) - known for proxy, known in before.items()])

    await until("both ends have new certificates", renewed)


async def handshake(mesh: Services, directory: Path, highest: ssl.TLSVersion) -> str | None:
    """The TLS version that v1's proxy agrees to with a client of the mesh; None when it refuses."""
    found = backend_of(mesh.worker.live.view, "default")
    assert found is not None
    leaf = Authority(found.pair).issue(time.time(), 60.0, uris=[WEB_ID]).pair
    file = directory / "client.pem"
    file.write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=found.pair.certificate.decode())
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


async def test_meshtls_enforces_the_lowest_version(mesh: Services, tmp_path: Path) -> None:
    assert await handshake(mesh, tmp_path, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
    versions = {"tlsVersion": {"min": "TLS13", "max": "TLS13"}}
    async with mesh.policy("MeshTLS", {"rules": [{"default": versions}]}):

        async def refused() -> bool:
            return await handshake(mesh, tmp_path, ssl.TLSVersion.TLSv1_2) is None

        await until("a client of TLS 1.2 is refused", refused)
        assert await handshake(mesh, tmp_path, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        await statuses(mesh, (200, 200))


async def test_meshtls_lets_plain_traffic_in_when_permissive(mesh: Services) -> None:
    async with mesh.policy("MeshTLS", {**AT_V1, "rules": [{"default": {"mode": "Permissive"}}]}):

        async def plain() -> bool:
            return (await mesh.request(mesh.inbounds["v1"])).text == "v1"

        await until("a plain request is answered", plain)
        await statuses(mesh, (200, 200))
        assert (await mesh.request(mesh.inbounds["v2"])).status == 0
