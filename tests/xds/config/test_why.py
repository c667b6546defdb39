"""Explanations by trying without: exact causes, and the reasons of what was passed over."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.policy.proxy import item_of, proxy_of
from mesh.resource import ResourceKey
from mesh.view import View
from tests.xds.config.worlds import (
    TRANSPARENT,
    dataplane,
    mesh,
    mesh_service,
    node,
    policy,
    resource,
    view_of,
)
from xds.config.causes import Probe, needed, parts_of
from xds.config.client import client_of
from xds.config.limits import CAUSES_MAX
from xds.config.passedover import SILENT, verdicts
from xds.config.paths import ABSENT, parse
from xds.config.source import plan_of
from xds.config.why import Undone, Why, why
from xds.types import CLUSTER, ENDPOINT, LISTENER

API = "default_api___msvc_80"
TO_API = {"kind": "MeshService", "name": "api"}
TO_MESH = {"kind": "Mesh"}


def world(*policies: Any) -> View:
    return view_of(
        [
            mesh(),
            mesh("elsewhere"),
            dataplane("web", 8080, networking=TRANSPARENT),
            dataplane("api-1", 80, service="api", address="192.168.0.2"),
            dataplane("api-2", 80, service="api", address="192.168.0.3"),
            dataplane("db-1", 5432, service="db", address="192.168.0.4"),
            mesh_service("api", vip="241.0.0.1"),
            mesh_service("db", 5432, vip="241.0.0.2"),
            *policies,
        ]
    )


def timeout(name: str, *to: tuple[Any, str], **spec: Any) -> Any:
    elements = [{"targetRef": ref, "default": {"connectionTimeout": value}} for ref, value in to]
    return policy("MeshTimeout", name, to=elements, **spec)


def probe(view: View, type_url: str, name: str, path: str = "") -> Probe:
    web = node("web")
    return Probe(view, plan_of(web)("default", "web", client_of(web)), type_url, name, parse(path))


def explained(view: View, type_url: str, name: str, path: str = "", past: Any = ()) -> Why:
    web = view.get("Dataplane", "default", "web")
    assert web is not None
    return why(view, probe(view, type_url, name, path), proxy_of(view, item_of(web)), past)


def causes(found: Why) -> dict[str, tuple[str, ...]]:
    return {cause.resource.name: cause.rules for cause in found.causes}


def reasons(found: Why) -> dict[str, str]:
    return {f"{each.policy.name} {each.rule}".strip(): each.reason for each in found.passed_over}


def test_the_rule_that_wins_and_the_one_it_overrides() -> None:
    view = world(timeout("all", (TO_MESH, "3s")), timeout("slow", (TO_API, "7s")))
    found = explained(view, CLUSTER, API, "connectTimeout")
    assert found.value == "7s"
    assert causes(found) == {"slow": ("to[0]",), "api": (), "default": ()}
    assert found.causes[0].without == "3s"
    assert reasons(found) == {"all to[0]": "is overridden by MeshTimeout 'slow'"}


def test_two_that_say_the_same_do_not_hide_each_other() -> None:
    view = world(timeout("all", (TO_MESH, "7s")), timeout("slow", (TO_API, "7s")))
    found = explained(view, CLUSTER, API, "connectTimeout")
    assert "slow" in causes(found)
    assert found.causes[0].without == "7s"
    assert reasons(found)["all to[0]"] == "is overridden by MeshTimeout 'slow'"


def test_a_hidden_one_names_all_that_hide_it() -> None:
    view = world(
        timeout("a", (TO_MESH, "1s")),
        timeout("b", (TO_MESH, "2s"), targetRef={"kind": "Dataplane"}),
        timeout("c", (TO_API, "3s"), targetRef={"kind": "Dataplane", "name": "web"}),
    )
    found = reasons(explained(view, CLUSTER, API, "connectTimeout"))
    assert found["b to[0]"] == "is overridden by MeshTimeout 'c'"
    assert found["a to[0]"] == "is overridden by MeshTimeout 'c', MeshTimeout 'b'"


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


def test_an_endpoint_is_from_its_dataplane_alone() -> None:
    view = world()
    path = "endpoints[0].lbEndpoints[{}].endpoint.address.socketAddress.address"
    for position in (0, 1):
        found = explained(view, ENDPOINT, API, path.format(position))
        dataplanes = [cause.resource for cause in found.causes if cause.resource.kind == "Dataplane"]
        assert [each.spec.networking.address for each in dataplanes] == [found.value]


def test_a_cluster_that_a_route_names_too_is_there_without_the_route() -> None:
    """It is first found behind the outbound of `api`; without the route it is still that of `db` itself."""
    match = {"path": {"type": "PathPrefix", "value": "/"}}
    backend = {"backendRefs": [{"kind": "MeshService", "name": "db", "port": 5432}]}
    rules = [{"matches": [match], "default": backend}]
    view = world(policy("MeshHTTPRoute", "moved", to=[{"targetRef": TO_API, "rules": rules}]))
    cluster = "default_db___msvc_5432"
    assert "moved" not in causes(explained(view, CLUSTER, cluster))
    assert "moved" in causes(explained(view, LISTENER, "outbound:241.0.0.1:80"))


def test_a_whole_resource_tells_what_each_cause_changes() -> None:
    view = world(timeout("slow", (TO_API, "7s")))
    found = explained(view, CLUSTER, API)
    by_name = {cause.resource.name: cause for cause in found.causes}
    assert by_name["slow"].paths == ("/connectTimeout",)
    assert by_name["api"].without is ABSENT


def test_since_which_commit() -> None:
    old = world(timeout("slow", (TO_API, "7s")))
    key = ResourceKey("MeshTimeout", "default", "slow")
    slower = resource(timeout("slow", (TO_API, "8s")))
    new, _ = old.with_changes(5, [(key, slower)])
    unrelated = resource(mesh_service("db", 5433, vip="241.0.0.2"))
    newest, _ = new.with_changes(6, [(unrelated.key, unrelated)])
    past = [
        Undone(6, [(unrelated.key, new.get(*unrelated.key))]),
        Undone(5, [(slower.key, old.get(*key))]),
    ]
    found = explained(newest, CLUSTER, API, "connectTimeout", past).since
    assert (found.index, found.exact) == (5, True)
    found = explained(newest, CLUSTER, API, "connectTimeout", past[:1]).since
    assert (found.index, found.exact) == (6, False)


def test_more_causes_than_are_told() -> None:
    parts = parts_of(resource(timeout("p", *[(TO_MESH, "1s")] * (CAUSES_MAX + 1))))
    found = needed(lambda gone: len(gone), 0, parts)
    assert (len(found.parts), found.complete) == (CAUSES_MAX, False)


def test_verdicts_name_everything_once() -> None:
    view = world(
        timeout("all", (TO_MESH, "3s")), timeout("other", targetRef={"kind": "Dataplane", "name": "x"})
    )
    web = view.get("Dataplane", "default", "web")
    assert web is not None
    decided = verdicts(view, proxy_of(view, item_of(web)))
    assert [item.meta.name for item, _ in decided.chosen] == ["all"]
    assert [each.policy.name for each in decided.passed] == ["other"]


REFS = st.sampled_from([TO_MESH, TO_API, {"kind": "MeshService", "name": "db"}])
TOPS = st.sampled_from([{"kind": "Mesh"}, {"kind": "Dataplane"}, {"kind": "Dataplane", "name": "web"}])
VALUES = st.sampled_from(["1s", "2s", "3s"])
POLICIES = st.lists(
    st.builds(lambda top, to: (top, to), TOPS, st.lists(st.tuples(REFS, VALUES), min_size=1, max_size=3)),
    max_size=5,
)


@settings(max_examples=25, deadline=None)
@given(POLICIES)
def test_causes_are_sufficient_and_each_is_needed(made: Any) -> None:
    policies = [timeout(f"p{n}", *to, targetRef=top) for n, (top, to) in enumerate(made)]
    view = world(*policies)
    trial = probe(view, CLUSTER, API, "connectTimeout")
    parts = [part for each in policies for part in parts_of(resource(each))]
    used = needed(trial.without, trial.value, parts).parts
    others = [part for part in parts if part not in used]
    assert trial.without(others) == trial.value
    for part in used:
        assert trial.without([*others, part]) != trial.value
