"""What a transaction would change of proxies: equal to deriving everything twice, at the cost of the change."""

from __future__ import annotations

import random
from typing import Any

import pytest

from cp.impact import Derivation, ProxyChange, meshes_of
from mesh.resource import ResourceKey
from mesh.view import Change, View
from tests.xds.config.worlds import MTLS, dataplane, mesh, mesh_service, node, policy, resource, view_of
from xds.config.source import Source

OUTBOUND = {"outbound": [{"port": 10001, "tags": {"kuma.io/service": "backend"}}]}
WEB = dataplane("web", 8080, networking=OUTBOUND)
BACKEND = dataplane("backend", 9001, service="backend")
OTHER = dataplane("lonely", 7000, mesh="other")
WORLD = [mesh(), mesh("other"), WEB, BACKEND, OTHER]


def timeout(seconds: int, **spec: Any) -> Any:
    to = {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": f"{seconds}s"}}
    return policy("MeshTimeout", "t", targetRef={"kind": "Mesh"}, to=[to], **spec)


def put(document: Any) -> Change:
    found = resource(document)
    return found.key, found


def impact(view: View, *changes: Change) -> tuple[ProxyChange, ...]:
    return Derivation(view, "").impact(changes, meshes_of(view, [key for key, _ in changes])).proxies


def short(found: tuple[ProxyChange, ...]) -> dict[str, set[tuple[str, str, str]]]:
    return {
        each.key.name: {(r.type_url.rpartition(".")[2], r.name, r.op) for r in each.resources}
        for each in found
    }


def test_a_policy_changes_the_cluster_of_whom_it_targets() -> None:
    view = view_of(WORLD)
    assert short(impact(view, put(timeout(7)))) == {"web": {("Cluster", "backend", "change")}}


def test_an_endpoint_that_comes_and_a_proxy_that_goes() -> None:
    view = view_of(WORLD)
    more = dataplane("backend-2", 9002, service="backend")
    found = impact(view, put(more))
    assert short(found)["web"] == {("ClusterLoadAssignment", "backend", "change")}
    assert [(each.key.name, each.op) for each in found] == [("backend-2", "add"), ("web", "change")]
    assert {op for _, _, op in short(found)["backend-2"]} == {"add"}
    gone = impact(view, (ResourceKey("Dataplane", "default", "backend"), None))
    assert [(each.key.name, each.op) for each in gone] == [("backend", "remove"), ("web", "change")]


def test_what_is_written_again_as_it_was_changes_nothing() -> None:
    view = view_of([*WORLD, timeout(7)])
    assert impact(view, put(timeout(7))) == ()
    assert impact(view, put(policy("MeshTimeout", "u", targetRef={"kind": "Mesh"}, to=[]))) == ()


def test_a_derivation_is_caught_up_and_asked_again() -> None:
    view = view_of(WORLD)
    derivation = Derivation(view, "")
    assert short(derivation.impact([put(timeout(7))], {"default"}).proxies)
    assert short(derivation.impact([put(timeout(7))], {"default"}).proxies)  # the first left no trace
    key, stored = put(timeout(7))
    view, _ = view.with_changes(2, [(key, stored)])
    derivation.catch_up(view, [key])
    assert derivation.impact([put(timeout(7))], {"default"}).proxies == ()
    assert short(derivation.impact([(key, None)], {"default"}).proxies) == {
        "web": {("Cluster", "backend", "change")}
    }


def test_proxies_beyond_the_limit_are_counted() -> None:
    view = view_of([mesh(), *(dataplane(f"d{n}", 80, address=f"10.0.0.{n}") for n in range(3))])
    assert Derivation(view, "", proxies_max=2).impact([put(timeout(1))], {"default"}).left_out == 1


def test_a_kind_of_all_meshes_concerns_all() -> None:
    view = view_of(WORLD)
    assert meshes_of(view, [ResourceKey("HostnameGenerator", "", "h")]) == {"default", "other"}
    assert meshes_of(view, [ResourceKey("Mesh", "", "default")]) == {"default"}


# --- equal to deriving everything twice ----------------------------------------------------


def everything(view: View) -> dict[tuple[str, str, str], str]:
    """(proxy, type, name) -> version, from nothing."""
    source = Source(view)
    found: dict[tuple[str, str, str], str] = {}
    for each in view.list("Dataplane"):
        snapshot = source.connect(node(each.name, mesh=each.mesh), lambda deltas: None).snapshot() or {}
        for url, resources in snapshot.items():
            found |= {(each.name, url, name): encoded.version for name, encoded in resources.items()}
    return found


def documents(chance: random.Random) -> list[Any]:
    """Some of what a mesh may hold, a little different each time."""
    n = chance.randrange(3)
    return [
        mesh("default", **({"mtls": MTLS} if chance.random() < 0.2 else {})),
        timeout(chance.randrange(1, 4)),
        dataplane(f"web-{n}", 8080, service="web", address=f"10.0.1.{n}", networking=OUTBOUND),
        dataplane(f"backend-{n}", 9000 + chance.randrange(3), service="backend", address=f"10.0.2.{n}"),
        mesh_service("backend", chance.choice((80, 81))),
        policy(
            "MeshHTTPRoute",
            "r",
            targetRef={"kind": "Mesh"},
            to=[
                {
                    "targetRef": {"kind": "MeshService", "name": "backend"},
                    "rules": [
                        {"matches": [{"path": {"type": "PathPrefix", "value": f"/{n}"}}], "default": {}}
                    ],
                }
            ],
        ),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_it_equals_the_difference_of_two_full_derivations(seed: int) -> None:
    chance = random.Random(seed)
    view = view_of(WORLD)
    derivation = Derivation(view, "")
    for index in range(2, 12):
        key, new = put(chance.choice(documents(chance)))
        change = (key, None if chance.random() < 0.3 and key.kind != "Mesh" else new)
        told = derivation.impact([change], {"default", "other"}).proxies
        after, _ = view.with_changes(index, [change])
        assert differences(everything(view), everything(after)) == {
            (each.key.name, r.type_url, r.name): r.op
            for each in told
            for r in each.resources
            if each.op != "remove"
        }, f"seed {seed}, index {index}, {key}"
        view = after
        derivation.catch_up(view, [key])


def differences(before: dict[Any, str], after: dict[Any, str]) -> dict[Any, str]:
    proxies = {proxy for proxy, _, _ in after}
    found = {key: "add" if key not in before else "change" for key in after if before.get(key) != after[key]}
    return found | {key: "remove" for key in before.keys() - after.keys() if key[0] in proxies}
