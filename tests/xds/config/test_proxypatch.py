"""MeshProxyPatch: any change of any resource, alone in what it breaks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.xds.config.worlds import TRANSPARENT, dataplane, mesh, node, policy, rendered, view_of
from xds.config.policies.jsonpatch import PatchError, apply, merged
from xds.config.source import Source
from xds.types import CLUSTER, LISTENER, ROUTE

OUTBOUND = {"outbound": [{"port": 10001, "tags": {"kuma.io/service": "backend"}}]}
WEB = dataplane("web", 8080, tags={"kuma.io/protocol": "http"}, networking=OUTBOUND)
BACKEND = dataplane("backend", 9001, tags={"kuma.io/protocol": "http"})
IN, OUT = "inbound:192.168.0.1:8080", "outbound:127.0.0.1:10001"
LUA = """
name: envoy.filters.http.lua
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
  default_source_code: {inline_string: "-- nothing"}
"""
PROXY = """
name: envoy.filters.network.tcp_proxy
typedConfig:
  '@type': type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
  statPrefix: mine
  cluster: backend
"""


def patch(*modifications: dict[str, Any]) -> dict[str, Any]:
    return policy(
        "MeshProxyPatch",
        "mpp",
        targetRef={"kind": "Dataplane", "name": "web"},
        default={"appendModifications": list(modifications)},
    )


def source_of(*modifications: dict[str, Any]) -> Source:
    return Source(view_of([mesh(), WEB, BACKEND, patch(*modifications)]))


def config(*modifications: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    source = source_of(*modifications)
    stream = source.connect(node("web", **metadata), lambda deltas: None)
    assert not source.failures
    return rendered(stream.snapshot())


def manager(listener: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = listener["filterChains"][0]["filters"][-1]["typedConfig"]
    return found


def test_a_cluster_is_merged_with_a_value_in_any_spelling() -> None:
    change = {"operation": "Patch", "match": {"name": "backend"}, "value": "connect_timeout: 9s"}
    found = config({"cluster": change})[CLUSTER]
    assert found["backend"]["connectTimeout"] == "9s"
    assert found["localhost:8080"]["connectTimeout"] == "5s"


def test_origin_selects_all_of_one_sort() -> None:
    change = {"operation": "Patch", "match": {"origin": "inbound"}, "value": "connectTimeout: 9s"}
    found = config({"cluster": change})[CLUSTER]
    assert (found["backend"]["connectTimeout"], found["localhost:8080"]["connectTimeout"]) == ("5s", "9s")


def test_clusters_and_listeners_come_and_go() -> None:
    added = {"operation": "Add", "value": "name: mine\ntype: STATIC\nconnectTimeout: 1s"}
    removed = {"operation": "Remove", "match": {"tags": {"kuma.io/service": "backend"}}}
    found = config({"cluster": added}, {"listener": removed})
    assert found[CLUSTER]["mine"]["connectTimeout"] == "1s"
    assert set(found[LISTENER]) == {IN}


@pytest.mark.parametrize("name", ["mine", "backend", "localhost:8080"])
def test_what_is_added_takes_the_place_of_its_name_and_what_comes_after_is_for_it_too(name: str) -> None:
    added = {"operation": "Add", "value": f"name: {name}\ntype: STATIC\nconnectTimeout: 1s"}
    change = {"operation": "Patch", "match": {"name": name}, "value": "altStatName: x"}
    others = {"operation": "Patch", "match": {"origin": "outbound"}, "value": "connectTimeout: 7s"}
    found = config({"cluster": added}, {"cluster": change}, {"cluster": others})[CLUSTER]
    assert found[name] == {"name": name, "type": "STATIC", "connectTimeout": "1s", "altStatName": "x"}
    removed = {"operation": "Remove", "match": {"name": name}}
    assert name not in config({"cluster": added}, {"cluster": removed})[CLUSTER]
    assert name in config({"cluster": removed}, {"cluster": added})[CLUSTER]


def test_filters_are_put_into_a_listener_that_was_added() -> None:
    address = "{socketAddress: {address: 127.0.0.1, portValue: 1}}"
    added = {"operation": "Add", "value": f"name: mine\naddress: {address}\nfilterChains: [{{}}]"}
    found = config(
        {"listener": added},
        {"networkFilter": {"operation": "AddLast", "match": {"listenerName": "mine"}, "value": PROXY}},
    )
    [chain] = found[LISTENER]["mine"]["filterChains"]
    assert [each["typedConfig"]["cluster"] for each in chain["filters"]] == ["backend"]


def test_json_patches_of_a_listener() -> None:
    change = {
        "operation": "Patch",
        "match": {"name": IN},
        "jsonPatches": [{"op": "add", "path": "/perConnectionBufferLimitBytes", "value": 1024}],
    }
    assert config({"listener": change})[LISTENER][IN]["perConnectionBufferLimitBytes"] == 1024


@pytest.mark.parametrize(
    ("operation", "match", "expected"),
    [
        ("AddFirst", {}, ["lua", "router"]),
        ("AddLast", {}, ["router", "lua"]),
        ("AddBefore", {"name": "envoy.filters.http.router"}, ["lua", "router"]),
        ("AddAfter", {"name": "envoy.filters.http.router"}, ["router", "lua"]),
        ("AddBefore", {"name": "nobody"}, ["router"]),
    ],
)
def test_http_filters_are_added(operation: str, match: dict[str, str], expected: list[str]) -> None:
    change = {"operation": operation, "match": match | {"listenerName": IN}, "value": LUA}
    found = config({"httpFilter": change})[LISTENER]
    names = [f["name"].rpartition(".")[2] for f in manager(found[IN])["httpFilters"]]
    assert names == expected
    assert [f["name"] for f in manager(found[OUT])["httpFilters"]] == ["envoy.filters.http.router"]


def test_network_filters_are_patched_in_their_configuration_and_removed() -> None:
    name = "envoy.filters.network.http_connection_manager"
    change = {
        "operation": "Patch",
        "match": {"name": name, "origin": "inbound"},
        "jsonPatches": [{"op": "replace", "path": "/streamIdleTimeout", "value": "1s"}],
    }
    found = config({"networkFilter": change})[LISTENER]
    assert manager(found[IN])["streamIdleTimeout"] == "1s"
    gone = config({"networkFilter": {"operation": "Remove", "match": {"name": name}}})[LISTENER]
    assert "filters" not in gone[IN]["filterChains"][0]


@pytest.mark.parametrize("features", [[], ["feature-dynamic-routes"]])
def test_virtual_hosts_wherever_the_routes_are(features: list[str]) -> None:
    added = {"operation": "Add", "match": {"origin": "outbound"}, "value": "name: v\ndomains: [v.test]"}
    patched = {"operation": "Patch", "match": {"name": "backend"}, "value": "retryPolicy: {retryOn: 5xx}"}
    found = config({"virtualHost": added}, {"virtualHost": patched}, features=features)
    routes = found[ROUTE][OUT] if features else manager(found[LISTENER][OUT])["routeConfig"]
    assert [host["name"] for host in routes["virtualHosts"]] == ["backend", "v"]
    assert routes["virtualHosts"][0]["retryPolicy"] == {"retryOn": "5xx"}


def test_a_patch_that_does_not_fit_breaks_only_what_it_is_for() -> None:
    change = {
        "operation": "Patch",
        "match": {"name": "backend"},
        "jsonPatches": [{"op": "remove", "path": "/noSuchField"}],
    }
    source = source_of({"cluster": change})
    found = rendered(source.connect(node("web"), lambda deltas: None).snapshot())
    assert "backend" not in found[CLUSTER]
    assert "localhost:8080" in found[CLUSTER]
    (reason,) = source.failures.values()
    assert "remove /noSuchField" in reason


def test_others_are_left_alone() -> None:
    source = source_of({"cluster": {"operation": "Remove"}})
    stream = source.connect(node("backend"), lambda deltas: None)
    assert "localhost:9001" in rendered(stream.snapshot())[CLUSTER]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "/a/1", "value": 9}, {"a": [1, 9, 2], "b": {"c": 3}}),
        ({"op": "add", "path": "/a/-", "value": 9}, {"a": [1, 2, 9], "b": {"c": 3}}),
        ({"op": "add", "path": "/n/m", "value": 9}, {"a": [1, 2], "b": {"c": 3}, "n": {"m": 9}}),
        ({"op": "replace", "path": "/b/c", "value": 9}, {"a": [1, 2], "b": {"c": 9}}),
        ({"op": "remove", "path": "/a/0"}, {"a": [2], "b": {"c": 3}}),
        ({"op": "move", "from": "/b/c", "path": "/d"}, {"a": [1, 2], "b": {}, "d": 3}),
        ({"op": "copy", "from": "/b", "path": "/a/0"}, {"a": [{"c": 3}, 1, 2], "b": {"c": 3}}),
    ],
)
def test_json_patch(operation: dict[str, Any], expected: Any) -> None:
    document = {"a": [1, 2], "b": {"c": 3}}
    assert apply(document, [operation]) == expected
    assert document == {"a": [1, 2], "b": {"c": 3}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/x"},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/a/7", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "test", "path": "/a", "value": 1},
        {"op": "remove", "path": ""},
    ],
)
def test_operations_that_do_not_fit_are_named(operation: dict[str, Any]) -> None:
    with pytest.raises(PatchError, match=str(operation["op"])):
        apply({"a": [1]}, [operation])


def test_messages_merge_as_protobuf_merges() -> None:
    assert merged({"a": [1], "b": {"c": 1, "d": 2}}, {"a": [2], "b": {"c": 3}}) == {
        "a": [1, 2],
        "b": {"c": 3, "d": 2},
    }


def test_a_patch_without_a_name_is_for_all_filters() -> None:
    change = {
        "operation": "Patch",
        "match": {"listenerName": IN},
        "jsonPatches": [{"op": "add", "path": "/suppressEnvoyHeaders", "value": True}],
    }
    [router] = manager(config({"httpFilter": change})[LISTENER][IN])["httpFilters"]
    assert router["typedConfig"]["suppressEnvoyHeaders"] is True


@pytest.mark.parametrize(
    ("origin", "cluster"),
    [("meshpassthrough", "meshpassthrough_192.0.2.7_80"), ("transparent", "inbound:passthrough:ipv4")],
)
def test_places_outside_have_an_origin_of_their_own(origin: str, cluster: str) -> None:
    change = {"operation": "Patch", "match": {"origin": origin}, "value": "connectTimeout: 9s"}
    place = {"type": "IP", "value": "192.0.2.7", "port": 80, "protocol": "tcp"}
    allowed = policy("MeshPassthrough", "mp", default={"passthroughMode": "Matched", "appendMatch": [place]})
    client = dataplane("web", 8080, networking=TRANSPARENT)
    source = Source(view_of([mesh(), client, allowed, patch({"cluster": change})]))
    found = rendered(source.connect(node("web"), lambda deltas: None).snapshot())[CLUSTER]
    slow = {name for name, value in found.items() if value["connectTimeout"] == "9s"}
    assert cluster in slow
    assert all(name.startswith("meshpassthrough") == (origin == "meshpassthrough") for name in slow)


def test_the_cluster_that_spans_go_to_has_an_origin_of_its_own() -> None:
    change = {"operation": "Patch", "match": {"origin": "mesh-trace"}, "value": "connectTimeout: 9s"}
    zipkin = {"type": "Zipkin", "zipkin": {"url": "http://zipkin.test:9411/api/v2/spans"}}
    traced = policy("MeshTrace", "mt", default={"backends": [zipkin]})
    source = Source(view_of([mesh(), WEB, traced, patch({"cluster": change})]))
    found = rendered(source.connect(node("web"), lambda deltas: None).snapshot())[CLUSTER]
    assert {name for name, value in found.items() if value["connectTimeout"] == "9s"} == {"meshtrace:zipkin"}
