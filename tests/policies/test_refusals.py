"""What a real Envoy refuses: told with its own words, kept from nobody else, and not sent again."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from cp.up.story import until
from tests.policies.harness import MESH, Services

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

# A cluster that every check but Envoy's own lets pass.
BROKEN = "name: broken\ntype: LOGICAL_DNS\nconnect_timeout: 1s\n"


@pytest_asyncio.fixture(loop_scope="module")
async def mesh(started: Services) -> Services:
    """The usual mesh; that something is refused is meant here."""
    return started


async def status(mesh: Services) -> dict[str, Any]:
    insight = await mesh.call("GET", f"/meshes/{MESH}/dataplane-insights/web")
    return dict(insight["subscriptions"][-1].get("status") or {})


async def test_a_refused_resource_is_told_everywhere_and_not_sent_again(mesh: Services) -> None:
    patch = {"modifications": [{"cluster": {"operation": "Add", "value": BROKEN}}]}
    spec = {
        "targetRef": {"kind": "Dataplane", "name": "web"},
        "default": {"appendModifications": patch["modifications"]},
    }
    async with mesh.policy("MeshProxyPatch", spec, name="broken"):

        async def refused() -> bool:
            return bool((await status(mesh)).get("rejections"))

        await until("the insight tells what is refused", refused)
        told = await status(mesh)
        assert [each["name"] for each in told["rejections"]] == ["broken"]
        assert "LOGICAL_DNS" in told["rejections"][0]["message"]
        async with mesh.session.get(mesh.api + "/metrics") as response:
            metrics = await response.text()
        assert 'xds_resources_rejected{dataplane="web",mesh="default"' in metrics
        rejected = (await stream(mesh))["responsesRejected"]
        await another_change_arrives(mesh)
        after = await stream(mesh)
        assert after["responsesRejected"] == rejected
        assert [each["name"] for each in after["rejections"]] == ["broken"]

    async def forgotten() -> bool:
        return not (await stream(mesh))["rejections"] and not (await status(mesh)).get("rejections")

    await until("nothing is refused any more", forgotten)


async def stream(mesh: Services) -> dict[str, Any]:
    return next(each for each in await mesh.streams() if each["proxy"] == f"{MESH}.web")


async def another_change_arrives(mesh: Services) -> None:
    """The rest of the configuration still changes, and the rest of the traffic still flows."""
    before = (await stream(mesh))["responsesAcknowledged"]
    spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "9s"}}]}
    async with mesh.policy("MeshTimeout", spec, name="meanwhile"):

        async def acknowledged() -> bool:
            return bool((await stream(mesh))["responsesAcknowledged"] > before)

        await until("another change is acknowledged", acknowledged)
        assert (await mesh.request(mesh.ports.v1)).status == 200
