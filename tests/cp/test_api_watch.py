"""Watching and history: what is told, in which order, and what happens at the edges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from tests.cp.conftest import Api
from tests.cp.test_api_crud import T1, TIMEOUT, dataplane

WAIT_S = 30.0


class Stream:
    """The messages of one watch, as (event, id, body)."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines

    async def next(self) -> tuple[str, int, Any]:
        fields: dict[str, str] = {}
        async with asyncio.timeout(WAIT_S):
            async for raw in self._lines:
                line = raw.decode().rstrip("\n")
                if not line:
                    return fields["event"], int(fields["id"]), orjson.loads(fields["data"])
                name, _, value = line.partition(": ")
                fields[name] = value
        raise AssertionError("the stream ended")


@asynccontextmanager
async def watching(api: Api, path: str, **headers: str) -> AsyncIterator[Stream]:
    async with api.session.get(api.base + path, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield Stream(aiter(response.content))


async def test_a_snapshot_then_each_commit(api: Api) -> None:
    await api.mesh()
    await api.put(T1, TIMEOUT)
    async with watching(api, "/meshes/default/meshtimeouts?watch=true") as stream:
        event, index, body = await stream.next()
        assert (event, body["last"], [item["name"] for item in body["items"]]) == ("snapshot", True, ["t1"])
        assert index == api.worker.live.index
        replaced = await api.put(T1, TIMEOUT)
        await api.put("/meshes/default/dataplanes/dp-1", dataplane())
        deleted = await api.delete(T1)
        event, index, body = await stream.next()
        assert (event, index) == ("commit", replaced.index)
        assert [(e["op"], e["type"], e["name"]) for e in body["events"]] == [("put", "MeshTimeout", "t1")]
        assert body["events"][0]["resource"]["spec"] == TIMEOUT["spec"]
        event, index, body = await stream.next()
        assert (event, index, body["events"][0]["op"]) == ("commit", deleted.index, "delete")
        assert body["events"][0]["resource"] is None


async def test_resuming_after_an_index_misses_and_repeats_nothing(api: Api) -> None:
    await api.mesh()
    indexes = [(await api.put(T1, TIMEOUT)).index for _ in range(4)]
    async with watching(api, f"/meshtimeouts?watch=true&since={indexes[1]}") as stream:
        assert [(await stream.next())[1] for _ in range(2)] == indexes[2:]
    async with watching(api, "/meshtimeouts?watch=true", **{"Last-Event-ID": str(indexes[2])}) as stream:
        assert (await stream.next())[1] == indexes[3]


async def test_one_resource_only(api: Api) -> None:
    await api.mesh()
    start = api.worker.live.index
    async with watching(api, f"{T1}?watch=true&since={start}") as stream:
        await api.put("/meshes/default/meshtimeouts/t2", TIMEOUT | {"name": "t2"})
        await api.put(T1, TIMEOUT)
        assert (await stream.next())[2]["events"][0]["name"] == "t1"


async def test_a_transaction_is_one_message(api: Api) -> None:
    start = api.worker.live.index
    async with watching(api, f"/meshes?watch=true&since={start}") as stream:
        await api.call("POST", "/transactions", [{"type": "Mesh", "name": name} for name in ("a", "b")])
        assert [event["name"] for event in (await stream.next())[2]["events"]] == ["a", "b"]


@pytest.mark.parametrize("query", ["watch=maybe", "watch=true&since=x"])
async def test_watches_that_are_none(api: Api, query: str) -> None:
    assert (await api.get(f"/meshes?{query}")).status == 400


async def test_history_newest_first(api: Api) -> None:
    await api.mesh()
    await api.put(T1, TIMEOUT, headers={"X-Raftmesh-Reason": "first"})
    await api.put(T1, TIMEOUT, headers={"X-Raftmesh-Reason": "second"})
    await api.delete(T1)
    told = (await api.get("/history?type=MeshTimeout&name=t1")).json
    assert [(e["op"], e["reason"]) for e in told["items"]] == [
        ("delete", ""),
        ("put", "second"),
        ("put", "first"),
    ]
    assert told["items"][2]["previousVersion"] == 0
    assert told["oldestIndex"] == 0
    page = (await api.get("/history?size=2")).json
    assert len(page["items"]) == 2
    rest = (await api.get(page["next"].removeprefix(api.base))).json
    assert [e["type"] for e in rest["items"]] == ["MeshTimeout", "Mesh"]
    assert rest["next"] is None
    assert (await api.get("/history?type=Nothing")).status == 400


async def test_a_page_of_the_history_counts_all_pages(api: Api) -> None:
    """Also while more is written between two pages; a transaction is never torn between them."""
    await api.mesh()
    policies = [TIMEOUT | {"name": f"t{n}"} for n in range(5)]
    await api.call(
        "POST", "/transactions", orjson.dumps(policies), headers={"Content-Type": "application/json"}
    )
    for _ in range(3):
        await api.put(T1, TIMEOUT)
    answer = (await api.get("/history?type=MeshTimeout&size=2")).json
    assert (answer["total"], len(answer["items"])) == (8, 2)
    await api.put(T1, TIMEOUT)
    seen = list(answer["items"])
    while answer["next"]:
        answer = (await api.get(answer["next"].removeprefix(api.base))).json
        assert answer["total"] == 8
        seen += answer["items"]
    assert [event["index"] for event in seen] == [5, 4, 3, *[2] * 5]
    assert (await api.get("/history?type=MeshTimeout&offset=9")).json == {
        "total": 9,
        "items": [],
        "next": None,
        "oldestIndex": 0,
    }
    assert (await api.get("/history?since=2&until=4")).json["total"] == 2


@pytest.mark.parametrize("path", ["/secrets", "/meshes/default/secrets", "/meshes/default/secrets/s"])
async def test_a_watch_does_not_tell_what_secrets_hold(api: Api, path: str) -> None:
    """GET does, to those who may read them; a stream is kept and passed on."""
    await api.mesh()
    secret = {"type": "Secret", "mesh": "default", "name": "s", "data": "dGVzdAo="}
    await api.put("/meshes/default/secrets/s", secret)
    async with watching(api, f"{path}?watch=true") as admin:
        (item,) = (await admin.next())[2]["items"]
        await api.put("/meshes/default/secrets/s", secret | {"data": "b3RoZXI="})
        (event,) = (await admin.next())[2]["events"]
    assert (item["name"], item["data"]) == ("s", "(hidden)")
    assert (event["resource"]["name"], event["resource"]["data"]) == ("s", "(hidden)")
    assert (await api.get("/meshes/default/secrets/s")).json["data"] == "b3RoZXI="


async def test_everything_that_happens(api: Api) -> None:
    await api.mesh()
    secret = {"type": "Secret", "mesh": "default", "name": "s", "data": "dGVzdAo="}
    async with (
        watching(api, "/history?watch=true") as admin,
        watching(api, "/history?watch=true", **{"X-Forwarded-For": "10.0.0.1"}) as anybody,
    ):
        await api.put("/meshes/default/secrets/s", secret)
        await api.put(T1, TIMEOUT)
        told = [(await admin.next())[2]["events"][0] for _ in range(2)]
        assert [event["type"] for event in told] == ["Secret", "MeshTimeout"]
        assert told[0]["resource"]["data"] == "(hidden)"
        assert (await anybody.next())[2]["events"][0]["type"] == "MeshTimeout"
