"""The common rules of Kuma's API, one by one: what every path has in common, whatever it serves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cp.conftest import Api, ApiFactory
from tests.cp.test_api_crud import T1, TIMEOUT, dataplane

PROCESS = "Could not process a resource"
NOT_ALLOWED = "Method not Allowed"
MESH_TIMEOUTS = "/meshes/default/meshtimeouts"


def fields_of(body: Any) -> list[tuple[str, str]]:
    return [(each["field"], each["reason"]) for each in body.get("invalid_parameters", [])]


# --- paths and methods --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/meshes", "/meshes/default", MESH_TIMEOUTS, T1, "/policies", "/global-insight", "/who-am-i"]
)
async def test_a_slash_at_the_end_means_nothing(api: Api, path: str) -> None:
    await api.mesh()
    await api.put(T1 + "/", TIMEOUT)
    with_slash, without = await api.get(path + "/"), await api.get(path)
    assert (with_slash.status, without.status) == (200, 200)
    assert with_slash.json.keys() == without.json.keys()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/meshes", "GET, HEAD"),
        ("DELETE", "/meshes", "GET, HEAD"),
        ("PATCH", "/meshes/default", "DELETE, GET, HEAD, PUT"),
        ("POST", T1, "DELETE, GET, HEAD, PUT"),
        ("PUT", "/global-insight", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD"),
        ("OPTIONS", "/policies", "GET, HEAD"),
        ("GET", "/tokens/user", "POST"),
        ("PUT", "/tokens/zone", "POST"),
        ("DELETE", "/tokens/dataplane/", "POST"),
        ("GET", "/transactions", "POST"),
    ],
)
async def test_methods_that_a_path_does_not_have(api: Api, method: str, path: str, allowed: str) -> None:
    answer = await api.call(method, path)
    assert (answer.status, answer.json["title"]) == (405, NOT_ALLOWED), answer.text
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/meshes", "/meshes/default", "/policies", "/"])
async def test_head_is_get_without_a_body(api: Api, path: str) -> None:
    await api.mesh()
    head, get = await api.call("HEAD", path), await api.get(path)
    assert (head.status, head.text) == (200, "")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/meshes", 200), ("GET", "/nothing", 404), ("PUT", T1, 400), ("POST", "/tokens/user", 400)],
)
async def test_answers_are_json(api: Api, method: str, path: str, status: int) -> None:
    answer = await api.call(method, path)
    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/json"


async def test_errors_carry_both_spellings(api: Api) -> None:
    await api.mesh()
    body = (await api.put(T1, TIMEOUT | {"spec": {"to": 5}})).json
    assert (body["type"], body["status"], body["details"]) == ("/std-errors", 400, body["detail"])
    assert body["causes"] == [{"field": f, "message": reason} for f, reason in fields_of(body)] != []


# --- lists --------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["size=", "offset=", "name=", "size=1000", "gateway=", "offset=0&size=100"])
async def test_empty_parameters_are_absent(api: Api, query: str) -> None:
    await api.mesh()
    await api.put("/meshes/default/dataplanes/dp-1", dataplane())
    assert (await api.get(f"/meshes/default/dataplanes?{query}")).json["total"] == 1


@pytest.mark.parametrize("query", ["filter[name]=x", "filter[x", "filter[labels]=x", "filter[]=x"])
async def test_filters_that_are_none(api: Api, query: str) -> None:
    await api.mesh()
    answer = await api.get(f"{MESH_TIMEOUTS}?{query}")
    assert (answer.status, answer.json["title"]) == (400, "Could not retrieve resources"), answer.text
    [(field, reason)] = fields_of(answer.json)
    assert field.startswith("/meshes/{mesh}/meshtimeouts.filter[") and "filter[labels.KEY]" in reason


async def test_a_page_beyond_the_end_is_empty(api: Api) -> None:
    await api.mesh()
    assert (await api.get("/meshes?offset=7")).json == {"total": 1, "items": [], "next": None}


@pytest.mark.parametrize(
    "path", ["/dataplanes", "/dataplanes+insights", "/dataplanes/_overview", "/service-insights"]
)
async def test_across_all_meshes_in_order(api: Api, path: str) -> None:
    for mesh in ("b", "a"):
        await api.mesh(mesh)
        document = dataplane() | {"mesh": mesh}
        assert (await api.put(f"/meshes/{mesh}/dataplanes/dp-1", document)).status == 201
    page = (await api.get(f"{path}?size=1")).json
    following = (await api.get(page["next"].removeprefix(api.base))).json
    assert (page["total"], following["next"]) == (2, None)
    assert [item["mesh"] for item in page["items"] + following["items"]] == ["a", "b"]


# --- writes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"type": "MeshTimeout", "mesh": "default"}, ["name"]),
        ({"type": "MeshTimeout", "name": "t2", "mesh": "default"}, ["name"]),
        ({"type": "MeshTimeout", "name": "t1", "mesh": "other"}, ["mesh"]),
        ({"type": "MeshRetry", "name": "t1", "mesh": "default"}, ["type"]),
        ({"type": "MeshRetry", "name": "t2", "mesh": "other"}, ["name", "type", "mesh"]),
    ],
)
async def test_the_body_says_what_the_url_says(api: Api, body: Any, fields: list[str]) -> None:
    await api.mesh()
    answer = await api.put(T1, body | {"spec": TIMEOUT["spec"] if body["type"] == "MeshTimeout" else {}})
    assert (answer.status, answer.json["title"]) == (400, PROCESS)
    assert fields_of(answer.json) == [(f, f"{f} from the URL has to be the same as in body") for f in fields]


async def test_a_body_without_a_mesh_means_the_default_one(api: Api) -> None:
    document = {key: value for key, value in TIMEOUT.items() if key != "mesh"}
    await api.mesh()
    await api.mesh("other")
    assert (await api.put(T1, document)).status == 201
    answer = await api.put("/meshes/other/meshtimeouts/t1", document)
    assert (answer.status, fields_of(answer.json)[0][0]) == (400, "mesh")


ANONYMOUS = {"X-Forwarded-For": "1.2.3.4"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/meshes/nope/secrets/x", ANONYMOUS, 400),  # the mesh first,
        ("/meshes/default/secrets/x", ANONYMOUS, 403),  # then access, before the document
        ("/globalsecrets/x", ANONYMOUS, 403),
        ("/globalsecrets/x", {}, 400),
        ("/meshes/nope/dataplane-insights/x", {}, 405),  # what nobody writes is refused before all else
        ("/mesh-insights/default", {}, 405),
        ("/meshes/default/service-insights/x", {}, 405),
        ("/zoneegressinsights/x", {}, 405),
    ],
)
async def test_the_order_of_checks(api: Api, path: str, headers: dict[str, str], status: int) -> None:
    await api.mesh()
    assert (await api.put(path, "{not json", headers=headers)).status == status


@pytest.mark.parametrize(
    ("plural", "mode", "other"),
    [("dataplanes", "global", "ZONE"), ("meshservices", "global", "ZONE"), ("workloads", "global", "ZONE")],
)
async def test_what_is_written_elsewhere_is_refused_whatever_the_body_says(
    make_api: ApiFactory, plural: str, mode: str, other: str
) -> None:
    api = await make_api(RAFTMESH_MODE=mode)
    answer = await api.put(f"/meshes/nope/{plural}/x", "{not json")
    assert (answer.status, answer.json["title"]) == (405, NOT_ALLOWED)
    assert f"only from the {other} control plane and not from a {mode.upper()}" in answer.json["detail"]


# --- warnings -----------------------------------------------------------------------------

TO = [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1s"}}]
KINDS_OUTDATED = "value for 'targetRef.kind' is deprecated, use Dataplane with labels instead"


@pytest.mark.parametrize(
    ("spec", "warnings"),
    [
        ({"to": TO}, []),
        ({"targetRef": {"kind": "Mesh"}, "to": TO}, []),
        ({"targetRef": {"kind": "Dataplane", "labels": {"app": "web"}}, "to": TO}, []),
        ({"from": TO}, ["'from' field is deprecated, use 'rules' instead"]),
        (
            {"targetRef": {"kind": "MeshSubset", "tags": {"a": "b"}}, "to": TO},
            [f"MeshSubset {KINDS_OUTDATED}"],
        ),
        ({"targetRef": {"kind": "MeshService", "name": "web"}, "to": TO}, [f"MeshService {KINDS_OUTDATED}"]),
        (
            {"targetRef": {"kind": "Mesh", "proxyTypes": ["Sidecar"]}, "to": TO},
            ["'targetRef.proxyTypes' field is deprecated, use Dataplane with labels instead"],
        ),
    ],
)
async def test_a_write_that_is_taken_warns_of_what_is_deprecated(
    api: Api, spec: Any, warnings: list[str]
) -> None:
    await api.mesh()
    for status in (201, 200):
        answer = await api.put(T1, TIMEOUT | {"spec": spec})
        assert (answer.status, answer.json) == (status, {"warnings": warnings} if warnings else {})


async def test_what_kuma_takes_without_a_word(api: Api) -> None:
    """Deprecated in its documentation, not in its answers: scripts compare these with `{}`."""
    mtls = {"enabledBackend": "ca-1", "backends": [{"name": "ca-1", "type": "builtin"}]}
    for path, body in (
        ("/meshes/default", {"type": "Mesh", "name": "default", "mtls": mtls}),
        ("/meshes/default/dataplanes/dp-1", dataplane()),
        ("/zoneingresses/zi", {"type": "ZoneIngress", "name": "zi", "networking": ADDRESS}),
        ("/zoneegresses/ze", {"type": "ZoneEgress", "name": "ze", "networking": ADDRESS}),
    ):
        answer = await api.put(path, body)
        assert (answer.status, answer.json) == (201, {}), path


ADDRESS = {"address": "10.0.0.1", "port": 10001}


# --- what there is ------------------------------------------------------------------------

INBOUND = {"MeshAccessLog", "MeshCircuitBreaker", "MeshRateLimit", "MeshTLS", "MeshTimeout"}
INBOUND_BY_SOURCE = {"MeshFaultInjection", "MeshTrafficPermission"}
SINGLE = {"MeshMetric", "MeshPassthrough", "MeshProxyPatch", "MeshTrace"}


async def test_policies_and_resources_tell_the_same(api: Api) -> None:
    policies = {each["name"]: each for each in (await api.get("/policies")).json["policies"]}
    resources = {each["name"]: each for each in (await api.get("/_resources")).json["resources"]}
    assert len(policies) == 16
    assert policies.keys() == {name for name, each in resources.items() if "policy" in each}
    for name, policy in policies.items():
        resource = resources[name]
        for field in ("path", "readOnly", "singularDisplayName", "pluralDisplayName"):
            assert policy[field] == resource[field]
        told = resource["policy"]
        assert told["isTargetRef"] is True
        assert told["isFromAsRules"] == (name in INBOUND), name
        assert told["hasFromTargetRef"] == told["hasRulesTargetRef"] == policy["isInbound"], name
        assert policy["isInbound"] == (name in INBOUND | INBOUND_BY_SOURCE), name
        assert told["hasToTargetRef"] == policy["isOutbound"], name
        if name in SINGLE:
            assert not policy["isInbound"] and not policy["isOutbound"]


async def test_global_insights_count_every_kind(api: Api) -> None:
    await api.mesh()
    await api.put(T1, TIMEOUT)
    body = (await api.get("/global-insights")).json
    assert body["type"] == "GlobalInsights" and body["creationTime"] > "2020"
    assert body["resources"]["Mesh"] == body["resources"]["MeshTimeout"] == {"total": 1}
    assert body["resources"].keys() == {
        each["name"] for each in (await api.get("/_resources")).json["resources"]
    }
