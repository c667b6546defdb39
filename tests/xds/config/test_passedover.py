"""Why not: each reason for which a policy has no part in a value."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.policy.proxy import item_of, proxy_of
from tests.xds.config.explained import API, TO_API, TO_MESH, causes, explained, reasons, timeout, world
from tests.xds.config.worlds import (
    TRANSPARENT,
    dataplane,
    policy,
    resource,
)
from xds.config.passedover import SILENT, verdicts
from xds.types import CLUSTER, LISTENER


def test_elements_for_others() -> None:
    gone = {"kind": "MeshService", "name": "gone"}
    db = {"kind": "MeshService", "name": "db"}
    view = world(timeout("slow", (TO_API, "7s"), (db, "8s"), (gone, "9s")))
    found = reasons(explained(view, CLUSTER, API, "connectTimeout"))
    assert found["slow to[1]"] == "points to MeshService 'db', another destination"
    assert found["slow to[2]"] == "points to MeshService 'gone', and there is no such resource"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (timeout("p", (TO_MESH, "1s"), targetRef={"kind": "Dataplane", "labels": {"a": "b"}}), "labels a=b"),
        (timeout("p", (TO_MESH, "1s"), targetRef={"kind": "Dataplane", "name": "db-1"}), "selects the proxy"),
        (
            timeout("p", (TO_MESH, "1s"), targetRef={"kind": "Dataplane", "sectionName": "x"}),
            "selects the inbound 'x', which the proxy lacks",
        ),
        (
            timeout("p", (TO_MESH, "1s"), targetRef={"kind": "Mesh", "proxyTypes": ["Gateway"]}),
            "is for proxies of type Gateway",
        ),
        (
            timeout("p", (TO_MESH, "1s"), targetRef={"kind": "MeshSubset", "tags": {"v": "2"}}),
            "selects proxies with tags v=2",
        ),
        (timeout("p", (TO_MESH, "1s")) | {"labels": {"kuma.io/effect": "shadow"}}, "is a shadow policy"),
        (
            timeout("p", (TO_MESH, "1s"), targetRef={"kind": "Dataplane", "name": "web"})
            | {"mesh": "elsewhere"},
            "is in mesh 'elsewhere', the proxy is in 'default'",
        ),
        (
            policy("MeshTimeout", "p", rules=[{"default": {"connectionTimeout": "1s"}}]),
            "is only about traffic that enters the proxy",
        ),
        (
            policy(
                "MeshRetry", "p", to=[{"targetRef": TO_MESH, "default": {"tcp": {"maxConnectAttempt": 3}}}]
            ),
            SILENT,
        ),
    ],
)
def test_why_not(made: Any, reason: str) -> None:
    found = explained(world(made), CLUSTER, API, "connectTimeout")
    assert "p" not in causes(found)
    [told] = [each.reason for each in found.passed_over if each.policy.name == "p"]
    assert reason in told


def test_a_policy_of_another_zone() -> None:
    made = timeout("p", (TO_MESH, "1s")) | {"labels": {"kuma.io/origin": "zone", "kuma.io/zone": "west"}}
    view = world(made)
    web = view.get("Dataplane", "default", "web")
    assert web is not None
    labels = {**web.labels, "kuma.io/origin": "zone", "kuma.io/zone": "east"}
    moved = resource(dataplane("web", 8080, networking=TRANSPARENT) | {"labels": labels}, "east")
    view, _ = view.with_changes(2, [(web.key, moved)])
    [told] = [each.reason for each in explained(view, CLUSTER, API).passed_over if each.policy.name == "p"]
    assert told == "belongs to zone 'west', the proxy is in 'east'"


def test_another_inbound() -> None:
    more = [
        {"port": 8080, "tags": {"kuma.io/service": "web"}},
        {"port": 8081, "tags": {"kuma.io/service": "adm"}},
    ]
    ref = {"kind": "Dataplane", "sectionName": "8081"}
    view = world(
        dataplane("web", networking={"inbound": more}),
        policy("MeshTimeout", "p", targetRef=ref, rules=[{"default": {"connectionTimeout": "1s"}}]),
        timeout("q", (TO_MESH, "1s")),
    )
    found = reasons(explained(view, LISTENER, "inbound:192.168.0.1:8080"))
    assert found["p"] == "selects the inbounds 8081, not this one"
    assert found["q"] == "has only `to`, which is about traffic that leaves the proxy"
    assert "p" in causes(explained(view, CLUSTER, "localhost:8081", "connectTimeout"))


def test_verdicts_name_everything_once() -> None:
    view = world(
        timeout("all", (TO_MESH, "3s")), timeout("other", targetRef={"kind": "Dataplane", "name": "x"})
    )
    web = view.get("Dataplane", "default", "web")
    assert web is not None
    decided = verdicts(view, proxy_of(view, item_of(web)))
    assert [item.meta.name for item, _ in decided.chosen] == ["all"]
    assert [each.policy.name for each in decided.passed] == ["other"]


def test_a_hidden_one_names_all_that_hide_it() -> None:
    view = world(
        timeout("a", (TO_MESH, "1s")),
        timeout("b", (TO_MESH, "2s"), targetRef={"kind": "Dataplane"}),
        timeout("c", (TO_API, "3s"), targetRef={"kind": "Dataplane", "name": "web"}),
    )
    found = reasons(explained(view, CLUSTER, API, "connectTimeout"))
    assert found["b to[0]"] == "is overridden by MeshTimeout 'c'"
    assert found["a to[0]"] == "is overridden by MeshTimeout 'c', MeshTimeout 'b'"


def test_one_that_says_what_holds_anyway_hides_others_too() -> None:
    view = world(
        timeout("a", (TO_MESH, "5s"), targetRef={"kind": "Dataplane"}),
        timeout("b", (TO_API, "3s")),
    )
    explanation = explained(view, CLUSTER, API, "connectTimeout")
    assert explanation.value == "5s" and "a" not in causes(explanation)
    found = reasons(explanation)
    assert found["a to[0]"] == "says what would be there without any policy, too"
    assert found["b to[0]"] == "is overridden by MeshTimeout 'a'"


def test_of_services_known_by_tags_the_one_for_the_service_hides_the_one_for_the_mesh() -> None:
    outbound = {"outbound": [{"port": 10001, "tags": {"kuma.io/service": "api"}}]}
    view = world(
        dataplane("web", 8080, networking=outbound),
        timeout("all", (TO_MESH, "3s")),
        timeout("particular", (TO_API, "9s")),
        timeout("slow", (TO_API, "7s"), targetRef={"kind": "Dataplane", "name": "web"}),
    )
    explanation = explained(view, CLUSTER, "api", "connectTimeout")
    assert explanation.value == "7s"
    found = reasons(explanation)
    assert found["particular to[0]"] == "is overridden by MeshTimeout 'slow'"
    assert found["all to[0]"] == "is overridden by MeshTimeout 'slow', MeshTimeout 'particular'"


def test_who_is_hidden_by_one_of_less_weight_is_found_all_the_same() -> None:
    """What is said of a route counts before what is said of its destination, whoever says it."""
    route = {"kind": "MeshHTTPRoute", "name": "r"}
    rule = {"matches": [{"path": {"type": "Exact", "value": "/slow"}}], "default": {}}
    view = world(
        policy("MeshHTTPRoute", "r", to=[{"targetRef": TO_API, "rules": [rule]}]),
        _requests("a", route, "7s"),
        _requests("b", route, "9s"),
        _requests("wide", TO_MESH, "3s", targetRef={"kind": "Dataplane", "name": "web"}),
    )
    path = "filterChains[0].filters[0].typedConfig.routeConfig.virtualHosts[0].routes[0].route.timeout"
    explanation = explained(view, LISTENER, "outbound:241.0.0.1:80", path)
    assert explanation.value == "7s"
    found = reasons(explanation)
    assert found["b to[0]"] == "is overridden by MeshTimeout 'a'"
    assert found["wide to[0]"] == "is overridden by MeshTimeout 'a', MeshTimeout 'b'"


def _requests(name: str, target: Any, value: str, **spec: Any) -> Any:
    default = {"http": {"requestTimeout": value}}
    return policy("MeshTimeout", name, to=[{"targetRef": target, "default": default}], **spec)
