"""Explanations over HTTP: from what a value is, since when, by whom, and what was passed over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cp.api.explain import EXPLANATIONS_WAITING_MAX, Turns
from cp.problems import Problem
from tests.cp.conftest import Api

PATH = "/meshes/default/dataplanes/web/_explain"
LISTENER = "inbound:10.0.0.1:8080"
CLUSTER = "localhost:8080"


async def with_web(api: Api) -> None:
    await api.mesh()
    inbound = {"port": 8080, "tags": {"kuma.io/service": "web", "kuma.io/protocol": "http"}}
    body = {"type": "Dataplane", "mesh": "default", "name": "web"}
    answer = await api.put(
        "/meshes/default/dataplanes/web",
        body | {"networking": {"address": "10.0.0.1", "inbound": [inbound]}},
    )
    assert answer.status == 201, answer.text


async def put_timeout(api: Api, name: str, timeout: str, reason: str = "", **spec: Any) -> int:
    spec = {"rules": [{"default": {"connectionTimeout": timeout}}]} | spec
    body = {"type": "MeshTimeout", "mesh": "default", "name": name, "spec": spec}
    headers = {"X-Raftmesh-Reason": reason} if reason else {}
    answer = await api.put(f"/meshes/default/meshtimeouts/{name}", body, headers=headers)
    assert answer.status in (200, 201), answer.text
    return answer.index


async def explained(api: Api, **params: str) -> Any:
    answer = await api.get(PATH, params={"type": "cluster", "resource": CLUSTER, **params})
    assert answer.status == 200, answer.text
    return answer.json


async def test_a_value_names_its_policy_rule_writer_and_moment(api: Api) -> None:
    await with_web(api)
    index = await put_timeout(api, "slow", "7s", reason="the database is slow")
    await put_timeout(api, "unrelated", "9s", targetRef={"kind": "Dataplane", "labels": {"app": "db"}})
    found = await explained(api, path="connect_timeout")
    assert (found["value"], found["path"], found["present"]) == ("7s", "/connectTimeout", True)
    first = found["from"][0]
    assert (first["type"], first["name"], first["rules"]) == ("MeshTimeout", "slow", ["rules[0]"])
    assert first["without"] == "5s"
    assert first["event"]["reason"] == "the database is slow"
    assert first["event"]["actor"]
    assert found["since"]["index"] == index
    assert found["since"]["exact"] is True
    assert found["since"]["events"][0]["name"] == "slow"
    assert {"name": "unrelated", "reason": "selects proxies with labels app=db"}.items() <= {
        **found["passedOver"][-1]
    }.items()


async def test_the_past_is_explained_from_the_past(api: Api) -> None:
    await with_web(api)
    before = await put_timeout(api, "slow", "7s")
    await put_timeout(api, "slow", "8s")
    assert (await explained(api, path="connectTimeout"))["value"] == "8s"
    past = await explained(api, path="connectTimeout", at=str(before))
    assert past["value"] == "7s"
    assert past["since"] == past["since"] | {"index": before, "exact": True}


async def test_a_deletion_can_be_why(api: Api) -> None:
    await with_web(api)
    await put_timeout(api, "slow", "7s")
    gone = await api.delete("/meshes/default/meshtimeouts/slow")
    found = await explained(api, path="connectTimeout")
    assert found["value"] == "5s"
    assert found["since"]["index"] == gone.index
    assert found["since"]["events"][0]["op"] == "delete"


async def test_without_a_resource_the_whole_proxy_is_told(api: Api) -> None:
    await with_web(api)
    await put_timeout(api, "slow", "7s")
    await put_timeout(api, "unrelated", "9s", targetRef={"kind": "Dataplane", "labels": {"app": "db"}})
    found = (await api.get(PATH)).json
    assert CLUSTER in found["resources"]["type.googleapis.com/envoy.config.cluster.v3.Cluster"]
    assert [(each["name"], each["inbounds"]) for each in found["from"]] == [("slow", ["8080"])]
    assert [each["name"] for each in found["passedOver"]] == ["unrelated"]


async def test_a_name_alone_is_enough_when_it_is_the_only_one(api: Api) -> None:
    await with_web(api)
    found = (await api.get(PATH, params={"resource": LISTENER})).json
    assert found["type"].endswith(".Listener")
    assert {each["type"] for each in found["from"]} == {"Dataplane", "Mesh"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("connectTimeout", "Cluster"),
        ("/endpoints/0", "ClusterLoadAssignment"),
        ("", "Cluster"),
        ("x", "Cluster"),
    ],
)
async def test_of_a_cluster_and_its_endpoints_that_is_meant_which_has_the_path(
    api: Api, path: str, kind: str
) -> None:
    await with_web(api)
    tags = {"kuma.io/service": "web"}
    networking = {"address": "10.0.0.2", "outbound": [{"port": 10001, "tags": tags}]}
    client = {"networking": networking | {"inbound": [{"port": 80, "tags": {"kuma.io/service": "client"}}]}}
    put = await api.put(
        "/meshes/default/dataplanes/client",
        {"type": "Dataplane", "mesh": "default", "name": "client", **client},
    )
    assert put.status == 201, put.text
    answer = await api.get(PATH.replace("web", "client"), params={"resource": "web", "path": path})
    assert answer.status == 200, answer.text
    assert answer.json["type"].endswith(f".{kind}")


@pytest.mark.parametrize(
    ("params", "status", "named"),
    [
        ({"type": "cluster"}, 400, "resource"),
        ({"path": "/a"}, 400, "resource"),
        ({"type": "kluster", "resource": CLUSTER}, 400, "kluster"),
        ({"resource": CLUSTER, "path": "a[b"}, 400, "path"),
        ({"resource": "nothing"}, 404, "nothing"),
        ({"type": "listener", "resource": CLUSTER}, 404, "Listener"),
        ({"shadow": "perhaps"}, 400, "perhaps"),
    ],
)
async def test_what_cannot_be_answered(api: Api, params: dict[str, str], status: int, named: str) -> None:
    await with_web(api)
    answer = await api.get(PATH, params=params)
    assert answer.status == status, answer.text
    assert named in answer.text


async def test_more_questions_than_can_wait_are_sent_away() -> None:
    turns, release = Turns(), asyncio.Event()

    async def ask() -> None:
        async with turns.next():
            await release.wait()

    asking = [asyncio.create_task(ask()) for _ in range(EXPLANATIONS_WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(Problem, match="waited for") as raised:
        await ask()
    assert (raised.value.status, raised.value.headers["Retry-After"]) == (503, "1")
    release.set()
    await asyncio.gather(*asking)
    await ask()


async def test_a_name_that_is_nearly_right(api: Api) -> None:
    await with_web(api)
    answer = await api.get(f"{PATH}?resource=localhost:8008")
    assert answer.status == 404
    assert (
        answer.json["title"] == "The proxy has no resource 'localhost:8008'; did you mean 'localhost:8080'?"
    )


@pytest.mark.parametrize("path", ["/meshes/nope/dataplanes/web/_explain", f"{PATH}".replace("web", "nope")])
async def test_unknown_proxies_have_no_explanation(api: Api, path: str) -> None:
    await with_web(api)
    assert (await api.get(path)).status == 404
