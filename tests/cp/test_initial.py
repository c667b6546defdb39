"""What exists after a first start, once each, whoever leads; and the switches that keep it away."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from cp.tokens import USER, verify
from mesh.defaults import default_mesh, default_policies
from raftstore.memory import MemoryStore
from tests.cp.conftest import Api, ApiFactory

EVERYTHING = {
    "RAFTMESH_DEFAULTS_SKIP_MESH_CREATION": "false",
    "RAFTMESH_DEFAULTS_SKIP_HOSTNAME_GENERATORS": "false",
    "RAFTMESH_API_SERVER_AUTHN_TOKENS_ENABLE_ISSUER": "true",
    "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_DP_TOKEN_ENABLE_ISSUER": "true",
    "RAFTMESH_DP_SERVER_AUTHN_ZONE_PROXY_ZONE_TOKEN_ENABLE_ISSUER": "true",
    "KUMA_ACCESS_TYPE": "rbac",
}
POLICIES = {(policy.kind, policy.name) for policy in default_policies(default_mesh())}
WANTED = POLICIES | {
    ("Mesh", "default"),
    ("HostnameGenerator", "local-mesh-external-service"),
    ("HostnameGenerator", "local-universal-mesh-service"),
    ("GlobalSecret", "user-token-signing-key-1"),
    ("GlobalSecret", "zone-token-signing-key-1"),
    ("GlobalSecret", "admin-user-token"),
    ("Secret", "dataplane-token-signing-key-default-1"),
    ("AccessRole", "admin"),
    ("AccessRoleBinding", "default"),
}


async def until(api: Api, wanted: set[tuple[str, str]]) -> None:
    live = api.worker.live
    while wanted - {(resource.kind, resource.name) for resource in live.view}:
        assert await live.wait_for(live.index + 1, 60.0), wanted - {(r.kind, r.name) for r in live.view}


async def events(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get("/history?size=1000")).json["items"]
    return found


async def test_three_replicas_create_everything_once(make_api: ApiFactory) -> None:
    """Each tries, and the log lets one succeed: there is one event for each resource, and one key."""
    store = MemoryStore()
    replicas = await asyncio.gather(
        *(make_api(store, **EVERYTHING, RAFTMESH_RAFT_NODE_ID=f"cp-{n}") for n in range(3))
    )
    for api in replicas:
        await until(api, WANTED)
    marker = await replicas[0].mesh("marker")  # everything that was under way is behind it
    assert await replicas[1].worker.live.wait_for(marker.index, 60.0)
    counts = Counter((event["type"], event["name"]) for event in await events(replicas[1]))
    assert {key: counts[key] for key in WANTED} == dict.fromkeys(WANTED, 1)
    assert {api.worker.live.view.digest() for api in replicas[:2]} == {replicas[1].worker.live.view.digest()}
    mesh = [event["index"] for event in await events(replicas[1]) if event["type"] == "Mesh"][-1]
    with_it = {(e["type"], e["name"]) for e in await events(replicas[1]) if e["index"] == mesh}
    assert with_it == POLICIES | {("Mesh", "default")}  # nobody ever saw a mesh without its policies


async def test_the_admin_token_is_good(make_api: ApiFactory) -> None:
    api = await make_api(**EVERYTHING)
    await until(api, WANTED)
    stored = api.worker.live.view.get("GlobalSecret", "", "admin-user-token")
    assert stored is not None
    claims = verify(api.worker.live.view, USER, stored.spec.value().decode(), 2e9 - 5)
    assert (claims["Name"], claims["Groups"]) == ("mesh-system:admin", ["mesh-system:admin"])
    assert claims["exp"] - claims["iat"] == 10 * 365 * 24 * 3600


async def test_a_second_start_creates_nothing(make_api: ApiFactory) -> None:
    store = MemoryStore()
    first = await make_api(store, **EVERYTHING)
    await until(first, WANTED)
    before = first.worker.live.index
    second = await make_api(store, **EVERYTHING)
    marker = await second.mesh("marker")
    await until(second, {("Secret", "dataplane-token-signing-key-marker-1")})
    written = [event for event in await events(second) if event["index"] > before]
    assert {(e["type"], e["name"]) for e in written} == {
        ("Mesh", "marker"),
        ("Secret", "dataplane-token-signing-key-marker-1"),
    }
    assert marker.index > before


@pytest.mark.parametrize(
    ("switch", "missing"),
    [
        ({"RAFTMESH_DEFAULTS_SKIP_MESH_CREATION": "true"}, {("Mesh", "default"), *POLICIES}),
        (
            {"RAFTMESH_DEFAULTS_SKIP_HOSTNAME_GENERATORS": "true"},
            {each for each in WANTED if each[0] == "HostnameGenerator"},
        ),
        (
            {"RAFTMESH_API_SERVER_AUTHN_TOKENS_BOOTSTRAP_ADMIN_TOKEN": "false"},
            {("GlobalSecret", "admin-user-token")},
        ),
        ({"KUMA_ACCESS_TYPE": "static"}, {("AccessRole", "admin"), ("AccessRoleBinding", "default")}),
    ],
)
async def test_switches(make_api: ApiFactory, switch: dict[str, str], missing: set[tuple[str, str]]) -> None:
    api = await make_api(**EVERYTHING | switch)
    gone = missing | (
        {each for each in WANTED if each[0] == "Secret"} if ("Mesh", "default") in missing else set()
    )
    await until(api, WANTED - gone)
    await api.mesh("marker")  # everything that was under way is behind it
    there = {(resource.kind, resource.name) for resource in api.worker.live.view}
    assert not there & missing


async def test_kinds_of_policies_can_be_left_out(make_api: ApiFactory) -> None:
    api = await make_api()
    mesh = {"type": "Mesh", "name": "m", "skipCreatingInitialPolicies": ["MeshTimeout", "MeshRetry"]}
    assert (await api.put("/meshes/m", mesh)).status == 201
    there = {(resource.kind, resource.name) for resource in api.worker.live.view if resource.mesh == "m"}
    assert there == {("MeshCircuitBreaker", "mesh-circuit-breaker-all-m")}
