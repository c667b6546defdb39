"""Dry runs: what a transaction would change, told by the same code that would write it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cp.conftest import Api, ApiFactory
from tests.cp.test_api_crud import T1, TIMEOUT, dataplane

DRY = "/transactions?dryRun=true"
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
OUTBOUND = [{"port": 10001, "tags": {"kuma.io/service": "backend"}}]


def timeout(seconds: int) -> dict[str, Any]:
    to = {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": f"{seconds}s"}}
    return TIMEOUT | {"spec": {"targetRef": {"kind": "Mesh"}, "to": [to]}}


def proxy(name: str, service: str, **networking: Any) -> dict[str, Any]:
    inbound = [{"port": 8080, "tags": {"kuma.io/service": service}}]
    body = {"address": "10.0.0.1", "inbound": inbound, **networking}
    return {"type": "Dataplane", "mesh": "default", "name": name, "networking": body}


async def with_proxies(api: Api) -> None:
    await api.mesh()
    for document in (proxy("web", "web", outbound=OUTBOUND), proxy("backend", "backend")):
        assert (await api.put(f"/meshes/default/dataplanes/{document['name']}", document)).status == 201


async def test_fields_proxies_and_resources_and_nothing_is_written(api: Api) -> None:
    await with_proxies(api)
    written = await api.put(T1, timeout(7))
    told = (await api.call("POST", DRY, [timeout(8)])).json
    field = {"op": "replace", "path": "spec.to[0].default.connectionTimeout", "before": "7s", "after": "8s"}
    assert told.pop("index") >= written.index
    assert told == {
        "dryRun": True,
        "results": [
            {"type": "MeshTimeout", "mesh": "default", "name": "t1", "outcome": "updated", "changes": [field]}
        ],
        "proxies": [
            {
                "type": "Dataplane",
                "mesh": "default",
                "name": "web",
                "op": "change",
                "resources": [{"type": CLUSTER, "name": "backend", "op": "change"}],
                "resourcesTotal": 1,
            }
        ],
        "proxiesTotal": 1,
    }
    kept = await api.get(T1)
    assert kept.headers["ETag"] == written.headers["ETag"]
    assert kept.json["spec"] == timeout(7)["spec"]


async def test_what_it_told_is_what_happens(api: Api) -> None:
    await with_proxies(api)
    told = (await api.call("POST", DRY, [timeout(7)])).json
    assert [each["name"] for each in told["proxies"]] == ["web"]
    await api.call("POST", "/transactions", [timeout(7)])
    again = (await api.call("POST", DRY, [timeout(7)])).json
    assert (again["results"][0]["outcome"], again["proxies"]) == ("unchanged", [])


async def test_what_follows_is_told_too(api: Api) -> None:
    await api.mesh()
    told = (await api.call("POST", DRY, [{"type": "Mesh", "name": "new"}])).json["results"]
    assert told[0]["name"] == "new"
    assert "implied" not in told[0]
    assert {(each["mesh"], each["outcome"], each["implied"]) for each in told[1:]} == {
        ("new", "created", True)
    }
    await api.put(T1, TIMEOUT)
    body = {"operations": [{"op": "delete", "type": "Mesh", "name": "default"}]}
    told = (await api.call("POST", DRY, body)).json["results"]
    assert [(each["type"], each["outcome"]) for each in told] == [
        ("Mesh", "deleted"),
        ("MeshTimeout", "deleted"),
    ]


async def test_what_would_be_refused_is_refused(api: Api) -> None:
    await api.mesh()
    bad = TIMEOUT | {"spec": {"targetRef": {"kind": "Nothing"}}}
    assert (await api.call("POST", DRY, [bad])).json == (await api.call("POST", "/transactions", [bad])).json
    await api.put(T1, TIMEOUT)
    absent = {"operations": [{"op": "put", "resource": TIMEOUT, "ifVersion": 0}]}
    assert (await api.call("POST", DRY, absent)).status == 412
    stranger = {"X-Forwarded-For": "10.0.0.1"}
    secret = {"type": "Secret", "mesh": "default", "name": "s", "data": "dGVzdAo="}
    assert (await api.call("POST", DRY, [secret], headers=stranger)).status == 403


@pytest.mark.parametrize("query", ["dryRun=perhaps", "dryRun=true&proxies=few"])
async def test_questions_that_are_none(api: Api, query: str) -> None:
    await api.mesh()
    assert (await api.call("POST", f"/transactions?{query}", [dataplane()])).status == 400


async def test_without_proxies_and_on_global(api: Api, make_api: ApiFactory) -> None:
    await api.mesh()
    assert "proxies" not in (await api.call("POST", f"{DRY}&proxies=false", [TIMEOUT])).json
    above = await make_api(KUMA_MODE="global")
    await above.mesh()
    told = (await above.call("POST", DRY, [TIMEOUT])).json
    assert (told["proxies"], told["proxiesReason"]) == (
        [],
        "the configuration of proxies is made in their zones",
    )


async def test_the_order_of_documents_does_not_matter(api: Api) -> None:
    documents = [TIMEOUT | {"mesh": "new"}, {"type": "Mesh", "name": "new"}]
    told = (await api.call("POST", "/transactions", documents)).json
    assert [each["type"] for each in told["results"]] == ["MeshTimeout", "Mesh"]
    body = {
        "operations": [
            {"op": "delete", "type": "Mesh", "name": "new"},
            {"op": "delete", "type": "MeshTimeout", "mesh": "new", "name": "t1"},
        ]
    }
    told = (await api.call("POST", "/transactions", body)).json
    assert [each["outcome"] for each in told["results"]] == ["deleted", "deleted"]


async def test_a_refusal_names_the_document_among_many(api: Api) -> None:
    await api.mesh()
    bad = TIMEOUT | {"name": "bad", "spec": {"targetRef": {"kind": "Nothing"}}}
    refused = (await api.call("POST", "/transactions", [TIMEOUT, bad])).json
    where = {"position": 1, "type": "MeshTimeout", "mesh": "default", "name": "bad"}
    assert (refused["detail"], refused["operation"]) == ("Resource is not valid", where)
    twice = [TIMEOUT, {"type": "Mesh", "name": "new"}, TIMEOUT]
    assert (await api.call("POST", "/transactions", twice)).status == 200
