"""Routes apart from listeners (ADR 5): same content, but a route's change leaves the listener alone."""

from __future__ import annotations

import copy
from typing import Any

from tests.xds.config.worlds import dataplane, mesh, node, policy, rendered, view_of
from xds.config.source import Source
from xds.types import LISTENER, ROUTE, Snapshot

HTTP = {"kuma.io/protocol": "http"}
NAME = "outbound:127.0.0.1:10001"
WITH = {"features": ["feature-dynamic-routes"]}


def world(version: str = "", protocol: str = "http") -> list[dict[str, Any]]:
    outbound = {"outbound": [{"port": 10001, "tags": {"kuma.io/service": "backend"}}]}
    tags = {"kuma.io/protocol": protocol, "version": "v1"}
    documents = [
        mesh(),
        dataplane("web", 8080, tags=HTTP, networking=outbound),
        dataplane("backend", 9001, tags=tags),
    ]
    if version:
        ref = {"kind": "MeshServiceSubset", "name": "backend", "tags": {"version": version}}
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "default": {"backendRefs": [ref]},
        }
        to = [{"targetRef": {"kind": "MeshService", "name": "backend"}, "rules": [rule]}]
        documents.append(policy("MeshHTTPRoute", "r", targetRef={"kind": "Mesh"}, to=to))
    return documents


def snapshot(documents: list[dict[str, Any]], **metadata: Any) -> Snapshot:
    found = Source(view_of(documents)).connect(node("web", **metadata), lambda deltas: None).snapshot()
    assert found is not None
    return found


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = listener["filterChains"][0]["filters"][0]["typedConfig"]
    return config


def test_the_listener_asks_for_routes_that_are_what_it_would_have_held() -> None:
    inline, apart = rendered(snapshot(world("v1"))), rendered(snapshot(world("v1"), **WITH))
    held = manager(inline[LISTENER][NAME]).pop("routeConfig")
    asked = manager(apart[LISTENER][NAME]).pop("rds")
    assert asked["routeConfigName"] == NAME
    sent = copy.deepcopy(apart[ROUTE][NAME])
    assert sent.pop("name") == NAME
    held.pop("name")
    assert sent == held
    assert inline[LISTENER] == apart[LISTENER]


def test_a_proxy_that_does_not_say_so_gets_no_route_resources() -> None:
    assert ROUTE not in rendered(snapshot(world("v1")))


def test_a_destination_without_requests_has_no_routes() -> None:
    assert ROUTE not in rendered(snapshot(world(protocol="tcp"), **WITH))


def test_a_changed_route_leaves_the_listener_as_it_is() -> None:
    before, after = snapshot(world("v1"), **WITH), snapshot(world("v2"), **WITH)
    assert before[LISTENER][NAME].version == after[LISTENER][NAME].version
    assert before[ROUTE][NAME].version != after[ROUTE][NAME].version
