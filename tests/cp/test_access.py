"""Access by roles, over real HTTP: writes, tokens, secrets, looks into proxies; and what stays static."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cp.conftest import Answer, Api, ApiFactory

REMOTE = {"X-Forwarded-For": "10.0.0.1"}
SETTINGS = {
    "KUMA_ACCESS_TYPE": "rbac",
    "RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER": "true",
    "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_ENABLE_ISSUER": "true",
    "RAFTMESH_DP_SERVER_AUTHN_ZONE_PROXY_ZONE_TOKEN_ENABLE_ISSUER": "true",
}
ONLY_ADMINS = {
    "type": "AccessRoleBinding",
    "name": "default",
    "subjects": [{"type": "Group", "name": "mesh-system:admin"}],
    "roles": ["admin"],
}
TIMEOUTS = "/meshes/default/meshtimeouts"


def timeout(name: str, service: str = "backend") -> dict[str, Any]:
    to = [{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "1s"}}]
    spec = {"targetRef": {"kind": "MeshService", "name": service}, "to": to}
    return {"type": "MeshTimeout", "mesh": "default", "name": name, "spec": spec}


def role(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"type": "AccessRole", "name": name, "rules": list(rules)}


def binding(name: str, user: str, *roles: str) -> dict[str, Any]:
    subjects = [{"type": "User", "name": user}]
    return {"type": "AccessRoleBinding", "name": name, "subjects": subjects, "roles": list(roles)}


async def until_there(api: Api, kind: str, name: str, mesh: str = "") -> None:
    while api.worker.live.view.get(kind, mesh, name) is None:
        assert await api.worker.live.wait_for(api.worker.live.index + 1, 60.0)


async def apply(api: Api, *documents: dict[str, Any], **options: Any) -> Answer:
    return await api.call("POST", "/transactions", list(documents), **options)


@pytest.fixture
async def api(make_api: ApiFactory) -> Api:
    """Roles decide; everybody is an administrator, as after the first start."""
    api = await make_api(**SETTINGS)
    for kind, name in (("AccessRoleBinding", "default"), ("GlobalSecret", "admin-user-token")):
        await until_there(api, kind, name)
    await api.mesh()
    return api


async def user(api: Api, name: str, *groups: str) -> dict[str, str]:
    """Headers of a user, who is not this machine's administrator."""
    body = {"name": name, "groups": list(groups), "validFor": "1h"}
    token = await api.call("POST", "/tokens/user", body)
    assert token.status == 200, token.text
    return REMOTE | {"Authorization": f"Bearer {token.text}"}


def refused(answer: Answer, who: str, what: str = "access the resource") -> None:
    assert (answer.status, answer.json["title"]) == (403, "Access Denied"), answer.text
    assert answer.json["detail"] == f'user "{who}" cannot {what}'
    assert answer.json["details"] == answer.json["detail"]


async def test_everybody_may_everything_at_first(api: Api) -> None:
    role = (await api.get("/access-roles/admin")).json
    assert set(role["rules"][0]["access"]) > {"CREATE", "UPDATE", "DELETE", "VIEW_STATS"}
    assert (await api.put(f"{TIMEOUTS}/t", timeout("t"), headers=REMOTE)).status == 201


async def test_a_role_is_what_one_may_from_the_moment_it_is_written(api: Api) -> None:
    jane = await user(api, "jane")
    who = "jane/mesh-system:authenticated"
    await apply(api, ONLY_ADMINS)
    refused(await api.put(f"{TIMEOUTS}/t", timeout("t"), headers=jane), who)
    anonymous = await api.put(f"{TIMEOUTS}/t", timeout("t"), headers=REMOTE)
    refused(anonymous, "mesh-system:anonymous/mesh-system:unauthenticated")
    rule = {
        "types": ["MeshTimeout"],
        "mesh": "default",
        "access": ["CREATE", "UPDATE", "DELETE"],
        "when": [{"targetRef": {"kind": "MeshService", "name": "backend"}}],
    }
    await apply(api, role("backend-owner", rule), binding("owners", "jane", "backend-owner"))
    assert (await api.put(f"{TIMEOUTS}/t", timeout("t"), headers=jane)).status == 201
    assert (await api.put(f"{TIMEOUTS}/t", timeout("t"), headers=jane)).status == 200
    refused(await api.put(f"{TIMEOUTS}/t", timeout("t", "web"), headers=jane), who)
    assert (await api.put(f"{TIMEOUTS}/u", timeout("u", "web"))).status == 201
    refused(await api.put(f"{TIMEOUTS}/u", timeout("u"), headers=jane), who)
    refused(await api.delete(f"{TIMEOUTS}/u", headers=jane), who)
    refused(await apply(api, timeout("v"), timeout("w", "web"), headers=jane), who)
    assert (await api.get(f"{TIMEOUTS}/v")).status == 404
    assert (await api.delete(f"{TIMEOUTS}/t", headers=jane)).status == 200
    await api.delete("/access-role-bindings/owners")
    refused(await api.put(f"{TIMEOUTS}/t", timeout("t"), headers=jane), who)
    assert (await api.get(f"{TIMEOUTS}/u", headers=jane)).status == 200  # reading is for everybody


async def test_a_role_holds_on_each_replica(make_api: ApiFactory, api: Api) -> None:
    """Given through one, it holds on the other from the index that wrote it; and so it is taken away."""
    other = await make_api(api.store, **SETTINGS)
    jane = await user(api, "jane")
    rule = {"types": ["MeshTimeout"], "access": ["CREATE", "UPDATE"]}
    for documents, status in (
        ([ONLY_ADMINS], 403),
        ([role("r", rule), binding("b", "jane", "r")], 201),
        ([binding("b", "joe", "r")], 403),
        ([binding("b", "jane", "r")], 200),
        ([role("r", rule | {"access": ["CREATE"]})], 403),
    ):
        index = (await apply(api, *documents)).index
        assert await other.worker.live.wait_for(index, 60.0)
        answer = await other.put(f"{TIMEOUTS}/t", timeout("t"), headers=jane)
        assert answer.status == status, answer.text


async def test_nobody_gives_himself_a_role(api: Api) -> None:
    jane = await user(api, "jane")
    who = "jane/mesh-system:authenticated"
    await apply(api, ONLY_ADMINS)
    refused(await api.put("/access-role-bindings/b", binding("b", "jane", "admin"), headers=jane), who)
    refused(await api.put("/access-roles/admin", role("admin", {"access": ["CREATE"]}), headers=jane), who)
    refused(await api.delete("/access-role-bindings/default", headers=jane), who)


async def test_secrets_belong_to_those_who_may_write_them(api: Api) -> None:
    jane = await user(api, "jane")
    await apply(api, ONLY_ADMINS, {"type": "Secret", "mesh": "default", "name": "s", "data": "dGVzdAo="})
    see = 'access the resource of type "Secret"'
    path = "/meshes/default/secrets"
    for where in (path, f"{path}/s", "/secrets", "/secrets?watch=true"):
        refused(await api.get(where, headers=jane), "jane/mesh-system:authenticated", see)
    assert "dGVzdAo" not in (await api.get("/history?type=Secret", headers=jane)).text
    rule = {"types": ["Secret"], "mesh": "default", "access": ["UPDATE"]}
    await apply(api, role("keeper", rule), binding("keepers", "jane", "keeper"))
    assert (await api.get(f"{path}/s", headers=jane)).status == 200


async def test_tokens_need_a_role(api: Api) -> None:
    await until_there(api, "Secret", "dataplane-token-signing-key-default-1", "default")
    jane = await user(api, "jane")
    who = "jane/mesh-system:authenticated"
    await apply(api, ONLY_ADMINS)
    web = {"name": "web-1", "mesh": "default", "tags": {"kuma.io/service": ["web"]}, "validFor": "1h"}
    zone = {"zone": "east", "scope": ["egress"]}
    asked = [
        ("dataplane", web, "generate dataplane token"),
        ("user", {"name": "root", "groups": ["mesh-system:admin"], "validFor": "1h"}, "generate user token"),
        ("zone", zone, "generate zone token"),
        ("zone", {"zone": "east", "scope": ["cp"]}, "generate zone token"),
    ]
    for path, body, what in asked:
        refused(await api.call("POST", f"/tokens/{path}", body, headers=jane), who, what)
    when = [{"dpToken": {"tags": [{"name": "kuma.io/service", "value": "web"}]}}]
    of_web = {"mesh": "default", "access": ["GENERATE_DATAPLANE_TOKEN"], "when": when}
    await apply(api, role("r", of_web, {"access": ["GENERATE_ZONE_TOKEN"]}), binding("b", "jane", "r"))
    assert (await api.call("POST", "/tokens/dataplane", web, headers=jane)).status == 200
    other = web | {"tags": {"kuma.io/service": ["api"]}}
    refused(await api.call("POST", "/tokens/dataplane", other, headers=jane), who, "generate dataplane token")
    assert (await api.call("POST", "/tokens/zone", zone, headers=jane)).status == 200
    both = {"zone": "east", "scope": ["egress", "cp"]}
    refused(await api.call("POST", "/tokens/zone", both, headers=jane), who, "generate zone token")


async def test_looks_and_the_cluster_need_a_role(api: Api) -> None:
    jane = await user(api, "jane")
    who = "jane/mesh-system:authenticated"
    await apply(api, ONLY_ADMINS)
    dump = "/meshes/default/dataplanes/web-1/_config"
    refused(await api.get(dump, headers=jane), who, "view config dump")
    refused(await api.get("/config", headers=jane), who, "access the configuration of the control plane")
    refused(await api.call("POST", "/cluster/snapshot", {}, headers=jane), who, "operate the cluster")
    rule = {"access": ["VIEW_CONFIG_DUMP", "VIEW_CONTROL_PLANE_METADATA"]}
    await apply(api, role("r", rule), binding("b", "jane", "r"))
    assert (await api.get(dump, headers=jane)).status == 404  # allowed, but there is none
    assert (await api.get("/config", headers=jane)).status == 200


async def test_defaults_do_not_come_back(make_api: ApiFactory, api: Api) -> None:
    """Whoever deleted the default binding after writing others does not find everybody admitted again."""
    await apply(api, binding("mine", "jane", "admin"))
    assert (await api.delete("/access-role-bindings/default")).status == 200
    again = await make_api(api.store, **SETTINGS | {"RAFTMESH_DEFAULTS_SKIP_MESH_CREATION": "false"})
    await again.worker.live.wait_for(api.worker.live.index, 60.0)
    await until_there(again, "Mesh", "default")
    refused(await again.put(f"{TIMEOUTS}/t", timeout("t"), headers=REMOTE), ANONYMOUS)


ANONYMOUS = "mesh-system:anonymous/mesh-system:unauthenticated"


async def test_static_access_says_that_roles_have_no_effect(make_api: ApiFactory) -> None:
    static = await make_api()
    answer = await static.put("/access-roles/r", role("r", {"access": ["CREATE"]}))
    assert answer.json["warnings"] == ["access.type is static: no AccessRole has an effect until it is rbac"]
    what = 'access the resource of type "AccessRole"'
    refused(await static.delete("/access-roles/r", headers=REMOTE), ANONYMOUS, what)
    assert (await static.get("/access-roles", headers=REMOTE)).json["total"] == 1


async def test_access_comes_before_the_document(make_api: ApiFactory) -> None:
    """Who must not write a kind is not told what is wrong with the document."""
    static = await make_api()
    await static.mesh()
    wrong = await static.put("/meshes/default/secrets/s", {"type": "Secret", "data": 5}, headers=REMOTE)
    refused(wrong, ANONYMOUS, 'access the resource of type "Secret"')
    assert (await static.put("/meshes/none/secrets/s", {}, headers=REMOTE)).status == 400


T, U = ("MeshTimeout", "default", "t"), ("MeshTimeout", "default", "u")
OTHER, RETRY = ("MeshTimeout", "other", "t"), ("MeshRetry", "default", "t")
MESH = ("Mesh", "", "another")
CREATE = ["CREATE"]


def written(kind: str, mesh: str, name: str) -> tuple[str, dict[str, Any]]:
    """(path, document) of a resource of that kind."""
    if kind == "Mesh":
        return f"/meshes/{name}", {"type": kind, "name": name, "skipCreatingInitialPolicies": ["*"]}
    conf = {"tcp": {"maxConnectAttempt": 1}} if kind == "MeshRetry" else {"connectionTimeout": "1s"}
    plural = "meshretries" if kind == "MeshRetry" else "meshtimeouts"
    spec = {"to": [{"targetRef": {"kind": "Mesh"}, "default": conf}]}
    return f"/meshes/{mesh}/{plural}/{name}", {"type": kind, "mesh": mesh, "name": name, "spec": spec}


TRIED: list[tuple[dict[str, Any], tuple[str, str], set[tuple[str, str, str]]]] = [
    ({"access": CREATE}, ("User", "jane"), {T, U, OTHER, RETRY, MESH}),
    ({"access": CREATE}, ("Group", "ops"), {T, U, OTHER, RETRY, MESH}),
    ({"access": CREATE}, ("User", "ops"), set()),
    ({"access": CREATE}, ("Group", "jane"), set()),
    ({"access": CREATE}, ("Group", "mesh-system:authenticated"), {T, U, OTHER, RETRY, MESH}),
    ({"types": ["MeshTimeout"], "access": CREATE}, ("User", "jane"), {T, U, OTHER}),
    ({"types": ["Mesh", "MeshRetry"], "access": CREATE}, ("User", "jane"), {RETRY, MESH}),
    ({"names": ["t"], "access": CREATE}, ("User", "jane"), {T, OTHER, RETRY}),
    ({"mesh": "default", "access": CREATE}, ("User", "jane"), {T, U, RETRY}),
    ({"mesh": "*", "access": CREATE}, ("User", "jane"), {T, U, OTHER, RETRY}),
    (
        {"types": ["MeshTimeout"], "names": ["t"], "mesh": "default", "access": CREATE},
        ("Group", "ops"),
        {T},
    ),
    ({"access": ["UPDATE", "DELETE"]}, ("User", "jane"), set()),
]


async def test_rules_by_kind_name_mesh_and_access_for_users_and_groups(api: Api) -> None:
    jane = await user(api, "jane", "ops")
    await api.mesh("other")
    await apply(api, ONLY_ADMINS)
    for rule, (kind, name), may_create in TRIED:
        bound = binding("bound", "", "tried") | {"subjects": [{"type": kind, "name": name}]}
        assert (await apply(api, role("tried", rule), bound)).status == 200
        may_change = "UPDATE" in rule["access"]
        for key in (T, U, OTHER, RETRY, MESH):
            path, document = written(*key)
            created = await api.put(path, document, headers=jane)
            assert created.status == (201 if key in may_create else 403), (rule, name, key, created.text)
            assert (await api.put(path, document)).status == (200 if key in may_create else 201)
            changed = await api.put(path, document, headers=jane)
            assert changed.status == (200 if may_change else 403), (rule, name, key, changed.text)
            deleted = await api.delete(path, headers=jane)
            assert deleted.status == (200 if may_change else 403), (rule, name, key, deleted.text)
            if not may_change:
                assert (await api.delete(path)).status == 200
