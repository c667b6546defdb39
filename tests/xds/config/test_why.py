"""Explanations by trying without: exact causes, and the reasons of what was passed over."""

from __future__ import annotations

from mesh.resource import ResourceKey
from tests.xds.config.explained import API, TO_API, TO_MESH, causes, explained, reasons, timeout, world
from tests.xds.config.worlds import (
    mesh_service,
    policy,
    resource,
)
from xds.config.paths import ABSENT
from xds.config.why import Undone
from xds.types import CLUSTER, ENDPOINT, LISTENER


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
