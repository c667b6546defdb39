"""The control plane asks real Envoys: over mutual TLS through their admin listener, and nobody else can."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import aiohttp
import pytest

from cp.envoyadmin import target_of
from cp.up.story import until
from mesh.resource import Resource
from tests.policies.harness import MESH, Services

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


async def asked(mesh: Services, path: str) -> tuple[int, str]:
    async with mesh.session.get(f"{mesh.api}/meshes/{MESH}/dataplanes/web/{path}") as response:
        return response.status, await response.text()


async def reachable(mesh: Services) -> bool:
    return (await asked(mesh, "clusters"))[0] == 200


def stored(mesh: Services, kind: str) -> Resource:
    found = mesh.worker.live.view.get(kind, MESH, "web")
    assert found is not None
    return found


async def test_envoys_configuration_statistics_and_clusters(mesh: Services) -> None:
    await until("the admin listener serves", lambda: reachable(mesh))
    status, text = await asked(mesh, "xds?include_eds=true")
    dump: dict[str, Any] = json.loads(text)
    assert status == 200
    kinds = {config["@type"].rpartition(".")[2] for config in dump["configs"]}
    assert {
        "BootstrapConfigDump",
        "ClustersConfigDump",
        "ListenersConfigDump",
        "EndpointsConfigDump",
    } <= kinds
    status, text = await asked(mesh, "stats?format=json&usedonly=true")
    assert status == 200
    assert any(each.get("name") == "server.live" for each in json.loads(text)["stats"])
    status, text = await asked(mesh, "clusters")
    assert status == 200
    assert "localhost:" in text


async def test_without_the_control_planes_certificate_only_readiness_is_told(mesh: Services) -> None:
    await until("the admin listener serves", lambda: reachable(mesh))
    target = target_of(stored(mesh, "Dataplane"), stored(mesh, "DataplaneInsight"))
    assert target.tls
    plain = f"http://{target.host}:{target.port}"
    async with mesh.session.get(plain + "/ready") as response:
        assert (response.status, await response.text()) == (200, "LIVE\n")
    async with mesh.session.get(plain + "/config_dump") as response:
        assert response.status == 404
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((aiohttp.ClientError, asyncio.TimeoutError)):
        async with mesh.session.get(target.url + "/config_dump", ssl=stranger) as response:
            await response.text()
