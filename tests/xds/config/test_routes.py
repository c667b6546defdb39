"""Routes: order of precedence, path elements, and what each filter does to a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import HTTP_OUT, TCP_OUT, Sidecar, prefix, route
from tests.xds.config.worlds import dataplane, mesh, node, policy, rendered, view_of
from xds.config.routes import Rule, Split, merged_splits, routes_of
from xds.config.source import Source
from xds.types import CLUSTER, LISTENER

REFS = [
    {"kind": "MeshService", "name": "api", "port": 80, "weight": 9},
    {"kind": "MeshService", "name": "rpc", "port": 9000, "weight": 1},
]


def matched(**match: Any) -> Rule:
    return Rule([match], [], (Split("c"),), (), "kri")


def test_precedence() -> None:
    rules = [
        matched(path={"type": "RegularExpression", "value": "/a.*"}),
        matched(path={"type": "PathPrefix", "value": "/a"}),
        matched(path={"type": "PathPrefix", "value": "/a/b"}),
        matched(path={"type": "Exact", "value": "/a"}),
        matched(path={"type": "PathPrefix", "value": "/a"}, method="GET"),
        matched(path={"type": "PathPrefix", "value": "/a"}, headers=[{"name": "x", "value": "1"}]),
        matched(headers=[{"name": "x", "value": "1"}]),
    ]
    found = [rules_match(r.match) for r in routes_of(rules, "own")]
    assert found == [
        "Exact /a",
        "PathPrefix /a/b",
        "GET /a",
        "headers /a",
        "PathPrefix /a",
        "headers",
        "RegularExpression /a.*",
        "PathPrefix /",
    ]


def rules_match(text: str) -> str:
    """A match in short."""
    match = json.loads(text)
    path = match.get("path", {})
    first = match.get("method") or ("headers" if "headers" in match else path.get("type", ""))
    return f"{first} {path.get('value', '')}".strip()


def test_a_catch_all_of_a_policy_takes_the_place_of_the_default() -> None:
    catch_all = matched(path={"type": "PathPrefix", "value": "/"})
    assert len(routes_of([catch_all], "own")) == 1


def test_a_prefix_is_whole_path_elements() -> None:
    found = Sidecar(route("r", prefix("/v1/"))).routes(HTTP_OUT)
    assert [r["match"] for r in found] == [{"path": "/v1"}, {"prefix": "/v1/"}, {"prefix": "/"}]


def conditions(**match: Any) -> dict[str, Any]:
    found = Sidecar(route("r", {"matches": [match], "default": {}})).routes(HTTP_OUT)[0]["match"]
    result: dict[str, Any] = found
    return result


def test_conditions() -> None:
    found = conditions(
        path={"type": "RegularExpression", "value": "/v[0-9]+"},
        method="POST",
        headers=[
            {"name": "a", "type": "Prefix", "value": "1"},
            {"name": "b", "type": "Present"},
            {"name": "c", "type": "Absent"},
            {"name": "d", "type": "RegularExpression", "value": "2+"},
        ],
        queryParams=[{"name": "q", "type": "Exact", "value": "3"}],
    )
    assert found["safeRegex"] == {"regex": "/v[0-9]+"}
    assert [h["name"] for h in found["headers"]] == [":method", "a", "b", "c", "d"]
    assert found["headers"][3] == {"name": "c", "presentMatch": False}
    assert found["queryParameters"] == [{"name": "q", "stringMatch": {"exact": "3"}}]


def filtered(*filters: dict[str, Any], path: str = "/old") -> list[dict[str, Any]]:
    return Sidecar(route("r", prefix(path, filters=list(filters)))).routes(HTTP_OUT)


def test_headers() -> None:
    modifier = {
        "set": [{"name": "x-s", "value": "1"}],
        "add": [{"name": "x-a", "value": "2,3"}],
        "remove": ["x-r"],
    }
    found = filtered(
        {"type": "RequestHeaderModifier", "requestHeaderModifier": modifier},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": modifier},
    )[0]
    assert [h["header"]["value"] for h in found["requestHeadersToAdd"]] == ["1", "2,3"]
    assert found["requestHeadersToAdd"][0]["appendAction"] == "OVERWRITE_IF_EXISTS_OR_ADD"
    assert found["responseHeadersToRemove"] == ["x-r"]


def test_redirect() -> None:
    redirect = {
        "scheme": "https",
        "hostname": "new.test",
        "port": 8443,
        "statusCode": 308,
        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"},
    }
    exact, prefixed, _ = filtered({"type": "RequestRedirect", "requestRedirect": redirect})
    assert "route" not in exact
    assert exact["redirect"] == {
        "schemeRedirect": "https",
        "hostRedirect": "new.test",
        "portRedirect": 8443,
        "regexRewrite": {"pattern": {"regex": ".*"}, "substitution": "/new"},
        "responseCode": "PERMANENT_REDIRECT",
    }
    assert prefixed["redirect"]["prefixRewrite"] == "/new/"


@pytest.mark.parametrize(
    ("rewrite", "expected"),
    [
        ({"hostname": "h.test"}, {"hostRewriteLiteral": "h.test"}),
        ({"hostToBackendHostname": True}, {"autoHostRewrite": True}),
        (
            {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
            {"regexRewrite": {"pattern": {"regex": ".*"}, "substitution": "/"}},
        ),
        (
            {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/all"}},
            {"regexRewrite": {"pattern": {"regex": ".*"}, "substitution": "/all"}},
        ),
    ],
)
def test_rewrite(rewrite: dict[str, Any], expected: dict[str, Any]) -> None:
    found = filtered({"type": "URLRewrite", "urlRewrite": rewrite})[0]["route"]
    assert {key: found[key] for key in expected} == expected


def test_only_a_prefix_is_replaced_as_one() -> None:
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/new"}}
    changed = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    match = {"path": {"type": "Exact", "value": "/old"}}
    (exact, _) = Sidecar(route("r", {"matches": [match], "default": {"filters": changed}})).routes(HTTP_OUT)
    assert not {"prefixRewrite", "regexRewrite"} & exact["route"].keys()
    assert filtered(*changed)[1]["route"]["prefixRewrite"] == "/new/"


def test_all_requests_are_mirrored_unless_a_share_is_named() -> None:
    mirror = {"backendRef": REFS[1]}
    sidecar = Sidecar(route("r", prefix("/", filters=[{"type": "RequestMirror", "requestMirror": mirror}])))
    (found,) = sidecar.routes(HTTP_OUT)[0]["route"]["requestMirrorPolicies"]
    assert found == {"cluster": "default_rpc___msvc_9000"}


def test_mirror() -> None:
    mirror = {"backendRef": REFS[1], "percentage": "2.5"}
    sidecar = Sidecar(route("r", prefix("/", filters=[{"type": "RequestMirror", "requestMirror": mirror}])))
    (found,) = sidecar.routes(HTTP_OUT)[0]["route"]["requestMirrorPolicies"]
    assert found["cluster"] == "default_rpc___msvc_9000"
    assert found["runtimeFraction"]["defaultValue"] == {"numerator": 250, "denominator": "TEN_THOUSAND"}


def test_shares() -> None:
    sidecar = Sidecar(route("r", prefix("/", backendRefs=REFS)))
    clusters = sidecar.routes(HTTP_OUT)[0]["route"]["weightedClusters"]["clusters"]
    assert [(c["name"], c["weight"]) for c in clusters] == [
        ("default_api___msvc_80", 9),
        ("default_rpc___msvc_9000", 1),
    ]


def test_backends_that_do_not_exist_are_left_out() -> None:
    lost = {"kind": "MeshService", "name": "nowhere", "port": 1}
    sidecar = Sidecar(route("r", prefix("/", backendRefs=[lost, REFS[1]])))
    assert sidecar.routes(HTTP_OUT)[0]["route"]["cluster"] == "default_rpc___msvc_9000"


def test_shares_of_one_cluster_are_added() -> None:
    assert merged_splits([Split("a", 1), Split("b", 0), Split("a", 2)]) == (Split("a", 3),)
    assert merged_splits([Split("b", 0)]) == ()


def test_requests_of_which_nobody_gets_a_share_are_answered() -> None:
    refs = [{**ref, "weight": 0} for ref in REFS]
    found = Sidecar(route("r", prefix("/a", backendRefs=refs))).routes(HTTP_OUT)
    answered = {each["match"].get("prefix"): each.get("directResponse") for each in found}
    assert answered == {None: {"status": 500}, "/a/": {"status": 500}, "/": None}


def tcp_route(service: str) -> dict[str, Any]:
    target = {"kind": "MeshService", "name": service}
    return policy(
        "MeshTCPRoute", "t", to=[{"targetRef": target, "rules": [{"default": {"backendRefs": REFS}}]}]
    )


def test_connections_are_shared_by_a_tcp_route() -> None:
    sidecar = Sidecar(tcp_route("db"))
    clusters = sidecar.manager(TCP_OUT)["weightedClusters"]["clusters"]
    assert [c["weight"] for c in clusters] == [9, 1]
    assert "default_rpc___msvc_9000" in sidecar.config[CLUSTER]


def test_an_http_route_goes_before_a_tcp_route() -> None:
    assert "weightedClusters" in Sidecar(tcp_route("api")).manager(HTTP_OUT)
    assert "routeConfig" in Sidecar(tcp_route("api"), route("r", prefix("/x"))).manager(HTTP_OUT)


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    rewrite = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/all"}, "hostname": "h.test"}
    filters = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    entries = [prefix("/a", filters=filters, backendRefs=REFS), prefix("/b", backendRefs=REFS[:1])]
    Sidecar(route("r", *entries), tcp_route("db")).validate(tmp_path)


# --- policies that select a route ------------------------------------------------------------------


def by_route(kind: str, default: dict[str, Any], name: str = "p") -> dict[str, Any]:
    target = {"kind": "MeshHTTPRoute", "name": "r"}
    to = [{"targetRef": {"kind": "Mesh"}, "default": default}]
    return policy(kind, name, targetRef=target, to=to)


def test_a_policy_may_select_a_route_at_the_top() -> None:
    common = {"http": {"requestTimeout": "9s", "streamIdleTimeout": "8s"}}
    whole = policy("MeshTimeout", "all", to=[{"targetRef": {"kind": "Mesh"}, "default": common}])
    own = by_route("MeshTimeout", {"http": {"requestTimeout": "1s"}})
    found = Sidecar(route("r", prefix("/a", backendRefs=REFS)), whole, own).routes(HTTP_OUT)
    timeouts = {
        each["match"].get("prefix"): (each["route"]["timeout"], each["route"]["idleTimeout"])
        for each in found
    }
    assert timeouts["/a/"] == ("1s", "8s"), "over what holds for the destination"
    assert timeouts["/"] == ("9s", "8s")


def test_a_policy_may_select_a_route_of_a_service_known_by_tags() -> None:
    outbound = {"port": 9999, "tags": {"kuma.io/service": "api"}}
    client = dataplane("web", 8080, networking={"outbound": [outbound]})
    server = dataplane("api", 80, address="192.168.0.2", tags={"kuma.io/protocol": "http"})
    retry = by_route("MeshRetry", {"http": {"numRetries": 7}})
    source = Source(view_of([mesh(), client, server, route("r", prefix("/a")), retry]))
    found = rendered(source.connect(node("web"), lambda deltas: None).snapshot())
    manager = found[LISTENER]["outbound:127.0.0.1:9999"]["filterChains"][0]["filters"][0]["typedConfig"]
    routes = manager["routeConfig"]["virtualHosts"][0]["routes"]
    retries = {
        each["match"].get("prefix"): each["route"].get("retryPolicy", {}).get("numRetries") for each in routes
    }
    assert retries == {None: 7, "/a/": 7, "/": None}
