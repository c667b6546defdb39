"""Conditional writes, retries that apply once, races decided by the log, transactions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from raftstore.errors import Overloaded, UnknownOutcome
from tests.cp.conftest import Api
from tests.cp.test_api_crud import T1, TIMEOUT, dataplane


def timeout(idle: str) -> dict[str, Any]:
    return TIMEOUT | {"spec": {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": idle}}]}}


async def test_etag_is_the_version(api: Api) -> None:
    await api.mesh()
    created = await api.put(T1, TIMEOUT)
    read = await api.get(T1)
    assert read.headers["ETag"] == created.headers["ETag"] == f'"{created.index}"'
    unchanged = await api.get(T1, headers={"If-None-Match": read.headers["ETag"]})
    assert (unchanged.status, unchanged.text) == (304, "")


async def test_only_what_was_seen_is_replaced(api: Api) -> None:
    await api.mesh()
    etag = (await api.put(T1, TIMEOUT)).headers["ETag"]
    assert (await api.put(T1, timeout("1s"), headers={"If-Match": etag})).status == 200
    refused = await api.put(T1, timeout("2s"), headers={"If-Match": etag})
    assert (refused.status, refused.json["title"]) == (412, "Precondition Failed")
    assert (await api.delete(T1, headers={"If-Match": etag})).status == 412
    assert (await api.put(T1, TIMEOUT, headers={"If-None-Match": "*"})).status == 412
    assert (await api.delete(T1, headers={"If-Match": "*"})).status == 200
    assert (await api.put(T1, TIMEOUT, headers={"If-Match": "*"})).status == 412
    assert (await api.put(T1, TIMEOUT, headers={"If-None-Match": "*"})).status == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"If-Match": "x"},
        {"If-Match": '"0"'},
        {"If-None-Match": '"5"'},
        {"If-Match": "*", "If-None-Match": "*"},
    ],
)
async def test_conditions_that_are_none(api: Api, headers: dict[str, str]) -> None:
    await api.mesh()
    assert (await api.put(T1, TIMEOUT, headers=headers)).status == 400


async def test_a_retry_applies_once_and_gets_the_first_answer(api: Api) -> None:
    await api.mesh()
    headers = {"X-Raftmesh-Request-Id": "r-1", "If-None-Match": "*", "X-Raftmesh-Reason": "because"}
    first = await api.put(T1, TIMEOUT, headers=headers)
    again = await api.put(T1, TIMEOUT, headers=headers)
    assert (first.status, again.status) == (201, 201)
    assert first.index == again.index
    other = await api.put(T1, TIMEOUT, headers=headers | {"X-Raftmesh-Request-Id": "r-2"})
    assert other.status == 412
    history = (await api.get("/history?type=MeshTimeout")).json["items"]
    assert [(e["op"], e["requestId"], e["reason"]) for e in history] == [("put", "r-1", "because")]


async def test_a_write_whose_fate_is_unknown_can_be_repeated_once(api: Api) -> None:
    await api.mesh()
    api.store.refuse = UnknownOutcome("the leader did not answer in time")
    unknown = await api.put(T1, TIMEOUT, headers={"If-None-Match": "*"})
    assert (unknown.status, unknown.json["title"]) == (504, "Unknown outcome")
    api.store.refuse = None
    headers = {"If-None-Match": "*", "X-Raftmesh-Request-Id": unknown.headers["X-Raftmesh-Request-Id"]}
    first = await api.put(T1, TIMEOUT, headers=headers)
    again = await api.put(T1, TIMEOUT, headers=headers)
    assert (first.status, first.index) == (again.status, again.index) == (201, first.index)


async def test_a_write_beyond_the_limits_is_told_when_to_come_back(api: Api) -> None:
    await api.mesh()
    api.store.refuse = Overloaded("20000 writes are waiting already", retry_after_s=1.4)
    refused = await api.put(T1, TIMEOUT, headers={"If-None-Match": "*"})
    assert (refused.status, refused.json["title"]) == (429, "Too many requests")
    assert refused.headers["Retry-After"] == "2" and "20000 writes" in refused.json["detail"]
    api.store.refuse = None
    assert (await api.get(T1)).status == 404, "nothing was written"
    request_id = {"X-Raftmesh-Request-Id": refused.headers["X-Raftmesh-Request-Id"]}
    assert (await api.put(T1, TIMEOUT, headers={"If-None-Match": "*"} | request_id)).status == 201


async def test_writers_at_the_same_time_all_succeed_one_after_the_other(api: Api) -> None:
    await api.mesh()
    answers = await asyncio.gather(*(api.put(T1, timeout(f"{n}s")) for n in range(1, 7)))
    assert sorted(answer.status for answer in answers) == [200, 200, 200, 200, 200, 201]
    assert len({answer.index for answer in answers}) == 6


async def test_a_mesh_and_its_first_proxy_race(api: Api) -> None:
    for _ in range(5):
        await api.mesh()
        joined, deleted = await asyncio.gather(
            api.put("/meshes/default/dataplanes/dp-1", dataplane()), api.delete("/meshes/default")
        )
        assert (joined.status, deleted.status) in ((201, 400), (400, 200))
        if joined.status == 201:
            assert (await api.delete("/meshes/default/dataplanes/dp-1")).status == 200
            assert (await api.delete("/meshes/default")).status == 200


async def test_a_transaction_is_one_event(api: Api) -> None:
    mesh = {"type": "Mesh", "name": "default", "skipCreatingInitialPolicies": ["*"]}
    operations = [
        {"op": "put", "resource": mesh},
        {"op": "put", "resource": dataplane()},
        {"op": "put", "resource": TIMEOUT, "ifVersion": 0},
    ]
    answer = await api.call("POST", "/transactions", {"operations": operations})
    assert answer.status == 200, answer.text
    assert [result["outcome"] for result in answer.json["results"]] == ["created"] * 3
    assert {(await api.get(path)).headers["ETag"] for path in ("/meshes/default", T1)} == {
        f'"{answer.index}"'
    }


async def test_a_transaction_is_all_or_nothing(api: Api) -> None:
    await api.mesh()
    before = api.worker.live.index
    operations = [
        {"op": "put", "resource": TIMEOUT},
        {"op": "delete", "type": "MeshTimeout", "mesh": "default", "name": "absent"},
    ]
    refused = await api.call("POST", "/transactions", {"operations": operations})
    assert refused.status == 404
    assert api.worker.live.index == before
    assert (await api.get(T1)).status == 404


async def test_documents_of_a_file_are_a_transaction(api: Api) -> None:
    text = "type: Mesh\nname: a\n---\ntype: Mesh\nname: b\n"
    answer = await api.call("POST", "/transactions", text, headers={"Content-Type": "application/yaml"})
    assert [result["name"] for result in answer.json["results"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"operations": 5}, "operations"),
        ({"operations": [5]}, "operations[0]"),
        ({"operations": [{"op": "move"}]}, "operations[0].op"),
        ({"operations": [{"op": "put"}]}, "operations[0].resource"),
        ({"operations": [{"op": "delete", "type": "Nothing", "name": "x"}]}, "operations[0].type"),
        ({"operations": [{"op": "delete", "type": "Mesh", "name": 5}]}, "operations[0].name"),
        ({"operations": [{"op": "put", "resource": {}, "ifVersion": -1}]}, "operations[0].ifVersion"),
    ],
)
async def test_operations_that_are_none(api: Api, body: Any, field: str) -> None:
    answer = await api.call("POST", "/transactions", body)
    assert answer.status == 400
    assert answer.json["invalid_parameters"][0]["field"] == field


async def test_an_empty_transaction(api: Api) -> None:
    assert (await api.call("POST", "/transactions", {"operations": []})).status == 400
