"""Where the admin interface of a proxy is, and how the API answers when it is not there."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from cp.envoyadmin import CREDENTIAL_BYTES_MAX, AdminTarget, WithoutCredentials, target_of
from cp.problems import Problem
from mesh.codec import decode, encode_value
from raftstore.types import Key, Put, Txn
from tests.cp.conftest import Api, ApiFactory

DATAPLANE = {"type": "Dataplane", "mesh": "default", "name": "web"}
PATH = "/meshes/default/dataplanes/web"


def target(
    address: str = "10.0.0.1", declared: int = 0, metadata: dict[str, Any] | None = None
) -> AdminTarget:
    admin = {"admin": {"port": declared}} if declared else {}
    proxy = decode(DATAPLANE | {"networking": {"address": address, **admin}})
    insight = decode(DATAPLANE | {"type": "DataplaneInsight", "metadata": metadata}) if metadata else None
    return target_of(proxy, insight)


def test_the_declared_port_comes_before_the_one_that_was_told() -> None:
    assert target(declared=9901) == AdminTarget("10.0.0.1", 9901, tls=True)
    told = {"dataplane.admin.port": "9902", "dataplane.admin.address": "127.0.0.1"}
    assert target(metadata=told) == AdminTarget("10.0.0.1", 9902, tls=True)
    assert target(declared=9901, metadata=told).port == 9901


def test_an_interface_on_the_address_of_the_proxy_is_asked_itself() -> None:
    told = {"dataplane.admin.port": "9902", "dataplane.admin.address": "127.0.0.1"}
    assert target("127.0.0.1", metadata=told) == AdminTarget("127.0.0.1", 9902, tls=False)
    socket = {"dataplane.admin.port": "9902", "dataplane.admin.socket": "/run/admin.sock"}
    assert target("127.0.0.1", metadata=socket) == AdminTarget("127.0.0.1", 9902, tls=True)


def test_urls() -> None:
    assert AdminTarget("10.0.0.1", 1, tls=True).url == "https://10.0.0.1:1"
    assert AdminTarget("::1", 1, tls=False).url == "http://[::1]:1"


def test_without_a_port_there_is_no_way() -> None:
    with pytest.raises(Problem, match="admin port") as raised:
        target(metadata={"dataplane.admin.socket": "/run/admin.sock"})
    assert raised.value.status == 404


class Envoy:
    """An admin interface that tells what it was asked."""

    def __init__(self, answer: web.Response | None = None) -> None:
        self.port = 0
        self.answer = answer
        self._runner = web.AppRunner(self._app())

    def _app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{path}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        if self.answer is not None:
            return self.answer
        return web.Response(text=request.path_qs)

    async def __aenter__(self) -> Envoy:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()


async def with_proxy(api: Api, port: int) -> None:
    await api.mesh()
    inbound = {"port": 8080, "tags": {"kuma.io/service": "web"}}
    body = DATAPLANE | {"networking": {"address": "127.0.0.1", "inbound": [inbound]}}
    assert (await api.put(PATH, body)).status == 201
    told = {"dataplane.admin.port": str(port), "dataplane.admin.address": "127.0.0.1"}
    insight = decode(DATAPLANE | {"type": "DataplaneInsight", "metadata": told})
    outcome = await api.store.submit(Txn((Put(Key(*insight.key), encode_value(insight)),)))
    assert await api.worker.live.wait_for(outcome.index, 60.0)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("xds", "/config_dump"),
        ("xds?include_eds=true", "/config_dump?include_eds="),
        ("xds?include_eds=false", "/config_dump"),
        ("stats", "/stats"),
        ("stats?format=json&usedonly", "/stats?format=json&usedonly="),
        ("clusters?format=json", "/clusters?format=json"),
        ("clusters?format=text", "/clusters"),
    ],
)
async def test_what_envoy_is_asked(api: Api, path: str, asked: str) -> None:
    async with Envoy() as envoy:
        await with_proxy(api, envoy.port)
        answer = await api.get(f"{PATH}/{path}")
        assert (answer.status, answer.text) == (200, asked)
        assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{PATH}/stats?format=xml", 400),
        (f"{PATH}/xds?include_eds=perhaps", 400),
        (f"{PATH}/xds", 502),
        ("/meshes/default/dataplanes/nope/xds", 404),
        ("/meshes/nope/dataplanes/web/xds", 404),
        ("/zoneingresses/nope/stats", 404),
        ("/zoneegresses/nope/clusters", 404),
    ],
)
async def test_what_cannot_be_answered(api: Api, path: str, status: int) -> None:
    async with Envoy() as envoy:
        port = envoy.port
    await with_proxy(api, port)  # nobody listens there any more
    answer = await api.get(path)
    assert answer.status == status, answer.text


async def test_who_may_not_look_is_told_so(make_api: ApiFactory) -> None:
    api = await make_api(
        RAFTMESH_ACCESS_STATIC_VIEW_STATS_USERS="nobody", RAFTMESH_ACCESS_STATIC_VIEW_STATS_GROUPS="none"
    )
    await with_proxy(api, 1)
    assert (await api.get(f"{PATH}/stats")).status == 403
    assert (await api.get(f"{PATH}/clusters")).status == 502


DUMP = b"""{"configs": [{"bootstrap": {"initial_metadata": [
  {
   "key": "Authorization",
   "value": "top.\\"secret"
  }
 ]}}, {"headers": [{"key": "x", "value": "plain"}]},
 {"initial_metadata": [{"key":"authorization","value":"second"}]}]}"""


@pytest.mark.parametrize("size", [40, 1000, 70_000])
def test_a_dump_tells_no_credentials(size: int) -> None:
    """However it is cut into pieces, and whatever lies around it."""
    around = b'"x": 1, ' * CREDENTIAL_BYTES_MAX
    for dump in (DUMP, around[: 30 * size] + DUMP + around[: CREDENTIAL_BYTES_MAX + 30 * size]):
        hiding = WithoutCredentials()
        told = b"".join(hiding.feed(dump[at : at + size]) for at in range(0, len(dump), size)) + hiding.end()
        assert told == dump.replace(b'top.\\"secret', b"[redacted]").replace(b"second", b"[redacted]")


async def test_who_may_look_at_a_proxy_does_not_get_its_token(api: Api) -> None:
    async with Envoy(web.Response(body=DUMP, content_type="application/json")) as envoy:
        await with_proxy(api, envoy.port)
        answer = await api.get(f"{PATH}/xds")
    assert answer.json["configs"][1:] == [
        {"headers": [{"key": "x", "value": "plain"}]},
        {"initial_metadata": [{"key": "authorization", "value": "[redacted]"}]},
    ]
    assert "secret" not in answer.text


async def test_a_proxy_is_not_trusted_with_pages_and_other_ways(api: Api) -> None:
    """Or whoever runs one had a script of his on the administrator's screen, and the control plane's eyes."""
    async with Envoy(web.Response(text="<script>", content_type="text/html")) as envoy:
        await with_proxy(api, envoy.port)
        answer = await api.get(f"{PATH}/stats")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        envoy.answer = web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})
        assert (await api.get(f"{PATH}/stats", allow_redirects=False)).status == 302
