"""Where routes lead requests and bytes, and what they change on the way."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from cp.up.story import until
from tests.policies.harness import Reply, Services

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

TO_BACKEND = {"targetRef": {"kind": "MeshService", "name": "backend"}}
V1 = {"kind": "MeshService", "name": "backend-v1", "port": 80}
V2 = {"kind": "MeshService", "name": "backend-v2", "port": 80}
REQUESTS = 400


def rule(path: str, *, refs: list[Any] | None = None, filters: list[Any] | None = None, **match: Any) -> Any:
    """A rule for a path prefix and further conditions."""
    default = {"backendRefs": refs or [V1]} | ({"filters": filters} if filters else {})
    return {"matches": [{"path": {"type": "PathPrefix", "value": path}, **match}], "default": default}


def route(*rules: Any) -> Any:
    return {"to": [{**TO_BACKEND, "rules": list(rules)}]}


async def only(mesh: Services, text: str, path: str = "/", **headers: str) -> None:
    """Wait until ten requests in a row are answered by one backend."""

    async def by_it() -> bool:
        replies = [await mesh.request(mesh.ports.backend, path, **headers) for _ in range(10)]
        return {reply.text for reply in replies} == {text}

    await until(f"only {text} answers {path}", by_it)


async def test_meshhttproute_splits_by_weight(mesh: Services) -> None:
    """Of 400 requests, 40 are expected at v2; four standard deviations (6 each) are let pass."""
    refs = [{**V1, "weight": 90}, {**V2, "weight": 10}]
    async with mesh.policy("MeshHTTPRoute", route(rule("/", refs=[V1]))):
        await only(mesh, "v1")
        weighted = {"type": "MeshHTTPRoute", "mesh": "default", "name": "tried"}
        await mesh.call(
            "PUT",
            "/meshes/default/meshhttproutes/tried",
            {**weighted, "spec": route(rule("/", refs=refs))},
        )

        async def both() -> bool:
            return (await mesh.request(mesh.ports.backend)).text == "v2"

        await until("v2 gets its share", both)
        counts = Counter([(await mesh.request(mesh.ports.backend)).text for _ in range(REQUESTS)])
        assert counts.keys() == {"v1", "v2"}
        assert 16 <= counts["v2"] <= 64, counts


async def test_meshhttproute_matches_headers(mesh: Services) -> None:
    header = [{"type": "Exact", "name": "x-version", "value": "two"}]
    async with mesh.policy(
        "MeshHTTPRoute", route(rule("/", refs=[V2], headers=header), rule("/", refs=[V1]))
    ):
        await only(mesh, "v2", x_version="two")
        await only(mesh, "v1", x_version="one")
        await only(mesh, "v1")


async def test_meshhttproute_redirects(mesh: Services) -> None:
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "other.test", "statusCode": 301}}
    async with mesh.policy("MeshHTTPRoute", route(rule("/old", filters=[redirect]), rule("/"))):
        reply = Reply(0)

        async def redirected() -> bool:
            nonlocal reply
            reply = await mesh.request(mesh.ports.backend, "/old/page")
            return reply.status == 301

        await until("the client is sent elsewhere", redirected)
        assert reply.headers["location"].startswith("http://other.test")
        assert reply.headers["location"].endswith("/old/page")


async def test_meshhttproute_rewrites_paths_and_headers(mesh: Services) -> None:
    rewrite = {
        "type": "URLRewrite",
        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}},
    }
    added = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-routed", "value": "yes"}]},
    }
    async with mesh.policy("MeshHTTPRoute", route(rule("/old", filters=[rewrite, added]))):

        async def rewritten() -> bool:
            mesh.apps["v1"].seen.clear()
            await mesh.request(mesh.ports.backend, "/old/page?a=1")
            return mesh.apps["v1"].paths() == ["/new/page?a=1"]

        await until("the upstream sees the new path", rewritten)
        assert {name.lower(): value for name, value in mesh.apps["v1"].seen[0].headers.items()}[
            "x-routed"
        ] == "yes"


async def test_meshhttproute_mirrors(mesh: Services) -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": V2, "percentage": 100}}
    async with mesh.policy("MeshHTTPRoute", route(rule("/", filters=[mirror]))):
        await only(mesh, "v1")

        async def mirrored() -> bool:
            reply = await mesh.request(mesh.ports.backend, "/mirrored")
            assert reply.text == "v1", "the copy's answer is nobody's"
            return "/mirrored" in mesh.apps["v2"].paths()

        await until("the other backend sees a copy", mirrored)


async def test_meshtcproute_moves_bytes_to_another_backend(mesh: Services) -> None:
    assert await mesh.says(mesh.ports.lines) == "v1: hello"
    lines = {"targetRef": {"kind": "MeshService", "name": "backend-v1", "sectionName": "lines"}}
    ref = {"kind": "MeshService", "name": "backend-v2", "port": 90}
    async with mesh.policy(
        "MeshTCPRoute", {"to": [{**lines, "rules": [{"default": {"backendRefs": [ref]}}]}]}
    ):

        async def moved() -> bool:
            return await mesh.says(mesh.ports.lines) == "v2: hello"

        await until("the other backend answers", moved)

    async def back() -> bool:
        return await mesh.says(mesh.ports.lines) == "v1: hello"

    await until("the first backend answers again", back)


async def test_meshproxypatch_adds_a_header(mesh: Services) -> None:
    lua = {
        "name": "envoy.filters.http.lua",
        "typedConfig": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "defaultSourceCode": {
                "inlineString": 'function envoy_on_response(h) h:headers():add("x-patched", "yes") end'
            },
        },
    }
    match = {"name": "envoy.filters.http.router", "origin": "inbound"}
    change = {"httpFilter": {"operation": "AddBefore", "match": match, "value": json.dumps(lua)}}
    spec = {
        "targetRef": {"kind": "Dataplane", "name": "backend-v1"},
        "default": {"appendModifications": [change]},
    }
    async with mesh.policy("MeshProxyPatch", spec):

        async def patched() -> bool:
            return (await mesh.request(mesh.ports.v1)).headers.get("x-patched") == "yes"

        await until("answers carry the header", patched)
        assert "x-patched" not in (await mesh.request(mesh.ports.v2)).headers

    async def gone() -> bool:
        return "x-patched" not in (await mesh.request(mesh.ports.v1)).headers

    await until("answers carry it no more", gone)
