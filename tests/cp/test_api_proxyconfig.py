"""The configuration of a proxy over HTTP, and what a policy on trial would change."""

from __future__ import annotations

import pytest

from mesh.codec import decode, encode_value
from raftstore.types import Key, Put, Txn
from tests.cp.conftest import Api, ApiFactory

PATH = "/meshes/default/dataplanes/dp/_config"
INBOUND = {"port": 8080, "tags": {"kuma.io/service": "web"}}
DATAPLANE = {"type": "Dataplane", "mesh": "default", "name": "dp"}
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"


async def with_proxy(api: Api) -> None:
    """A proxy that was connected once."""
    await api.mesh()
    networking = {"address": "10.0.0.1", "inbound": [INBOUND]}
    assert (
        await api.put("/meshes/default/dataplanes/dp", DATAPLANE | {"networking": networking})
    ).status == 201
    insight = decode(DATAPLANE | {"type": "DataplaneInsight"})
    outcome = await api.store.submit(Txn((Put(Key(*insight.key), encode_value(insight)),)))
    assert await api.worker.live.wait_for(outcome.index, 60.0)


async def put_timeout(api: Api, **labels: str) -> int:
    conf = {"default": {"idleTimeout": "77s"}}
    body = {
        "type": "MeshTimeout",
        "mesh": "default",
        "name": "t",
        "labels": labels,
        "spec": {"rules": [conf]},
    }
    answer = await api.put("/meshes/default/meshtimeouts/t", body)
    assert answer.status == 201, answer.text
    return answer.index


async def test_a_policy_on_trial_only_shows_in_the_shadow(api: Api) -> None:
    await with_proxy(api)
    await put_timeout(api, **{"kuma.io/effect": "shadow"})
    real = (await api.get(PATH)).json
    assert list(real) == ["xds"]
    assert "77s" not in str(real)
    shadow = (await api.get(f"{PATH}?shadow=true&include=diff")).json
    assert "77s" in str(shadow["xds"][LISTENER])
    added = [each for each in shadow["diff"] if each["op"] == "add"]
    assert [each["value"] for each in added] == ["77s"]


async def test_the_configuration_of_the_past(api: Api) -> None:
    await with_proxy(api)
    index = await put_timeout(api)
    assert "77s" in (await api.get(PATH)).text
    assert "77s" not in (await api.get(f"{PATH}?at={index - 1}")).text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"{PATH}?shadow=maybe", 400),
        (f"{PATH}?include=everything", 400),
        ("/meshes/nope/dataplanes/dp/_config", 404),
        ("/meshes/default/dataplanes/nope/_config", 404),
    ],
)
async def test_what_cannot_be_answered(api: Api, path: str, status: int) -> None:
    await with_proxy(api)
    assert (await api.get(path)).status == status


async def test_a_proxy_that_never_connected_has_no_configuration(api: Api) -> None:
    await api.mesh()
    networking = {"address": "10.0.0.1", "inbound": [INBOUND]}
    await api.put("/meshes/default/dataplanes/dp", DATAPLANE | {"networking": networking})
    answer = await api.get(PATH)
    assert (answer.status, answer.json["title"]) == (404, "Failed to retrieve DataplaneInsight")


async def test_global_makes_no_configuration(make_api: ApiFactory) -> None:
    api = await make_api(RAFTMESH_MODE="global")
    assert (await api.get(PATH)).status == 405
