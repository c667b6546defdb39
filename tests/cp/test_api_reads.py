"""Lists and their filters and pages; which view a read is answered from."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from raftstore.errors import Unavailable
from tests.cp.conftest import Answer, Api, ApiFactory
from tests.cp.test_api_crud import T1, TIMEOUT, dataplane


async def meshes(api: Api, *names: str) -> None:
    for name in names:
        await api.mesh(name)


async def test_lists_across_meshes_in_order(api: Api) -> None:
    await meshes(api, "m2", "m1")
    for mesh, name in (("m2", "a"), ("m1", "b"), ("m1", "a")):
        body = TIMEOUT | {"mesh": mesh, "name": name}
        assert (await api.put(f"/meshes/{mesh}/meshtimeouts/{name}", body)).status == 201
    listed = (await api.get("/meshtimeouts")).json
    assert [(i["mesh"], i["name"]) for i in listed["items"]] == [("m1", "a"), ("m1", "b"), ("m2", "a")]
    assert (listed["total"], listed["next"]) == (3, None)
    assert (await api.get("/meshes/m1/meshtimeouts")).json["total"] == 2


async def test_pages_name_the_next_one(api: Api) -> None:
    await meshes(api, "m1", "m2", "m3")
    first = (await api.get("/meshes?size=2")).json
    assert [item["name"] for item in first["items"]] == ["m1", "m2"]
    assert first["next"] == f"{api.base}/meshes?offset=2&size=2"
    rest = await api.call("GET", first["next"].removeprefix(api.base))
    assert ([item["name"] for item in rest.json["items"]], rest.json["next"]) == (["m3"], None)
    assert (await api.get("/meshes?size=2&offset=9")).json["items"] == []


async def test_the_next_page_is_of_the_same_list(make_api: ApiFactory) -> None:
    """Each repeated filter is in it, and the address that clients know us by."""
    api = await make_api(KUMA_API_SERVER_ROOT_URL="https://mesh.example.com")
    await api.mesh()
    for name in ("a", "b"):
        assert (await api.put(f"/meshes/default/dataplanes/{name}", dataplane(name))).status == 201
    asked = "/meshes/default/dataplanes?size=1&tag=kuma.io/service:w&tag=kuma.io/service:web"
    following = (await api.get(asked)).json["next"]
    assert following.startswith("https://mesh.example.com/meshes/default/dataplanes?offset=1&")
    assert (following.count("tag="), following.count("size=1")) == (2, 1)
    rest = await api.get(following.removeprefix("https://mesh.example.com"))
    assert [each["name"] for each in rest.json["items"]] == ["b"]


@pytest.mark.parametrize(
    ("query", "detail", "reason"),
    [
        ("offset=invalid", 'invalid: invalid offset: strconv.Atoi: parsing "invalid": invalid syntax', None),
        ("size=invalid", "Invalid page size", "invalid format"),
        ("size=0", "Invalid page size", "invalid format"),
        ("size=2000", "Invalid page size", "invalid page size of 2000. Maximum page size is 1000"),
    ],
)
async def test_wrong_pages(api: Api, query: str, detail: str, reason: str | None) -> None:
    answer = await api.get(f"/meshes?{query}")
    assert (answer.status, answer.json["title"]) == (400, "Could not retrieve resources")
    assert answer.json["detail"] == detail
    if reason:
        assert answer.json["invalid_parameters"] == [{"field": "size", "reason": reason}]


async def test_filters(api: Api) -> None:
    await api.mesh()
    await api.put("/meshes/default/dataplanes/dp-1", dataplane("dp-1", team="a"))
    other: dict[str, Any] = dataplane("dp-2")
    other["networking"]["gateway"] = {"type": "DELEGATED", "tags": {"kuma.io/service": "edge"}}
    del other["networking"]["inbound"]
    assert (await api.put("/meshes/default/dataplanes/dp-2", other)).status == 201

    async def names(query: str) -> list[str]:
        answer = await api.get(f"/meshes/default/dataplanes?{query}")
        assert answer.status == 200, answer.text
        return [item["name"] for item in answer.json["items"]]

    assert await names("tag=kuma.io/service:web") == ["dp-1"]
    assert await names("tag=kuma.io/service:") == ["dp-1", "dp-2"]
    assert await names("tag=kuma.io/service:edge&tag=zone:x") == []
    assert await names("gateway=true") == ["dp-2"]
    assert await names("gateway=false") == ["dp-1"]
    assert await names("gateway=builtin") == []
    assert await names("name=p-2") == ["dp-2"]
    assert await names("filter[labels.team]=a") == ["dp-1"]
    refused = await api.get("/meshes/default/dataplanes?filter[labels.team][eq]=a")
    assert refused.status == 400
    assert refused.json["invalid_parameters"] == [
        {
            "field": "/meshes/{mesh}/dataplanes.filter[labels.team][eq]",
            "reason": "advanced filters are not supported",
        }
    ]
    assert (await api.get("/meshes/default/dataplanes?gateway=maybe")).status == 400


async def test_under_an_unknown_mesh(api: Api) -> None:
    listed = await api.get("/meshes/not-a-mesh/meshtrafficpermissions")
    assert (listed.status, listed.json["title"]) == (404, "Failed to retrieve Mesh")
    assert (await api.get("/meshes/not-a-mesh/meshtimeouts/t")).json["title"] == "Failed to retrieve Mesh"


async def test_a_read_waits_for_the_index_it_must_see(api: Api) -> None:
    created = await api.mesh()
    reading = asyncio.create_task(
        api.get("/meshes", headers={"X-Raftmesh-Min-Index": str(created.index + 1)})
    )
    done, _ = await asyncio.wait({reading}, timeout=0.05)
    assert not done
    await api.mesh("later")
    answer = await reading
    assert [item["name"] for item in answer.json["items"]] == ["default", "later"]
    assert answer.index >= created.index + 1


@pytest.mark.parametrize("index", ["-1", "x", "9" * 30, "1.5", "²"])
async def test_an_index_that_is_none(api: Api, index: str) -> None:
    answer = await api.get(f"/meshes?index={index}")
    assert (answer.status, answer.json["invalid_parameters"][0]["field"]) == (400, "index")


async def test_a_linearizable_read_asks_the_leader(api: Api) -> None:
    await api.mesh()
    assert (await api.get("/meshes?consistency=linearizable")).status == 200
    assert (await api.get("/meshes?consistency=strong")).status == 400
    api.store.refuse = Unavailable("no quorum: 1 of 3 replicas is reachable", "cp-2")
    refused = await api.get("/meshes?consistency=linearizable")
    assert refused.status == 503
    assert (await api.get("/meshes")).status == 200


async def test_a_minority_says_why_and_who_to_ask(api: Api) -> None:
    await api.mesh()
    api.store.refuse = Unavailable("no quorum: 1 of 3 replicas is reachable", "cp-2")
    refused = await api.put(T1, TIMEOUT)
    assert (refused.status, refused.json["title"]) == (503, "Service unavailable")
    assert "no quorum: 1 of 3 replicas is reachable" in refused.json["detail"]
    assert refused.json["leader"] == "cp-2"
    assert refused.headers["X-Raftmesh-Leader"] == "cp-2"
    assert refused.headers["Retry-After"] == "1"


async def test_time_travel(api: Api) -> None:
    await api.mesh()
    first = await api.put(T1, TIMEOUT)
    changed = TIMEOUT | {"spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1m"}}]}}
    second = await api.put(T1, changed)
    await api.delete(T1)

    async def at(index: int) -> Answer:
        return await api.get(f"{T1}?at={index}")

    assert (await at(first.index)).json["spec"]["to"][0]["default"] == {"idleTimeout": "20s"}
    assert (await at(second.index)).json["spec"]["to"][0]["default"] == {"idleTimeout": "1m"}
    assert (await at(second.index)).index == second.index
    assert (await at(second.index + 1)).status == 404


async def test_what_it_says_of_itself(make_api: ApiFactory) -> None:
    api = await make_api(KUMA_MULTIZONE_ZONE_KDS_TOKEN="hunter2")
    index = (await api.get("/")).json
    assert (index["product"], index["version"], index["clusterId"]) == ("Kuma", "2.14.3", "memory")
    config = (await api.get("/config")).text
    assert "hunter2" not in config
    assert (await api.get("/healthy")).status == 200
    assert (await api.get("/ready")).json == {"status": "ready", "index": 0, "writable": True}
    cluster = (await api.get("/cluster")).json
    assert (cluster["leader"], cluster["hasQuorum"]) == ("memory", True)
    resources = {each["name"]: each for each in (await api.get("/_resources")).json["resources"]}
    assert resources["MeshTimeout"]["path"] == "meshtimeouts"
    assert resources["MeshTimeout"]["policy"]["hasToTargetRef"] is True
    assert "Config" not in resources
    assert "MeshRetry" in {each["name"] for each in (await api.get("/policies")).json["policies"]}
    await api.mesh()
    assert (await api.get("/global-insights")).json["resources"]["Mesh"] == {"total": 1}


async def test_metrics_count_by_route_not_by_path(api: Api) -> None:
    await api.mesh()
    await api.get(T1)
    text = (await api.get("/metrics")).text
    assert re.search(
        r'api_server_http_request_duration_seconds_count\{code="404",'
        r'handler="/meshes/\{mesh\}/\{plural\}/\{name\}",method="GET"\} 1\.0',
        text,
    )
    assert 'resources_count{resource_type="Mesh"} 1.0' in text
    assert 'store_count{operation="submit"} 1.0' in text
