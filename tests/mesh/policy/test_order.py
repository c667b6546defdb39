"""The order of importance, one criterion at a time, each beating all weaker ones."""

from __future__ import annotations

import random

from mesh.policy.order import sort_inbound, sort_outbound, sort_policies
from mesh.policy.outbound import outbound_entries
from mesh.policy.values import Item
from tests.mesh.policy.resources import items, policy

TO_MESH = {"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "1s"}}


def _named(name: str, top: dict[str, object] | None = None, **labels: str) -> Item:
    spec = {"targetRef": top or {"kind": "Mesh"}, "to": [TO_MESH]}
    return items(policy("MeshTimeout", name, spec, **labels))[0]


def _names(policies: list[Item]) -> list[str]:
    return [item.meta.name for item in policies]


def test_whole_policies_from_the_least_to_the_most_important() -> None:
    ordered = [
        _named("b"),
        _named("a"),
        _named("a1", policy_role="producer"),
        _named("a2", policy_role="consumer"),
        _named("a3", policy_role="workload-owner"),
        _named("z-zone", origin="zone"),
        _named("z-all", {"kind": "Dataplane"}),
        _named("z-all-section", {"kind": "Dataplane", "sectionName": "http"}),
        _named("z-labels", {"kind": "Dataplane", "labels": {"app": "x"}}),
        _named("z-section", {"kind": "Dataplane", "labels": {"app": "x"}, "sectionName": "http"}),
        _named("z-name", {"kind": "Dataplane", "name": "x"}),
        _named("z-name-section", {"kind": "Dataplane", "name": "x", "sectionName": "http"}),
        _named("z-subset", {"kind": "MeshSubset", "tags": {"a": "b"}}),
        _named("z-gateway", {"kind": "MeshGateway", "name": "g"}),
        _named("z-listener", {"kind": "MeshGateway", "name": "g", "tags": {"a": "b"}}),
        _named("z-service", {"kind": "MeshService", "name": "s"}),
        _named("z-service-subset", {"kind": "MeshServiceSubset", "name": "s", "tags": {"a": "b"}}),
        _named("z-route", {"kind": "MeshHTTPRoute", "name": "r"}),
    ]
    shuffled = list(ordered)
    random.Random(7).shuffle(shuffled)
    assert _names(sort_policies(shuffled)) == _names(ordered)


def test_what_global_wrote_yields_to_what_is_unlabelled_and_that_to_zones() -> None:
    policies = [_named("a", origin="zone"), _named("b"), _named("c", origin="global")]
    assert _names(sort_policies(policies)) == ["c", "b", "a"]


def test_the_name_that_counts_is_the_authors() -> None:
    policies = [_named("zz-hash", display_name="a"), _named("aa-hash", display_name="b")]
    assert _names(sort_policies(policies)) == ["aa-hash", "zz-hash"]


def test_destinations_beat_names_and_yield_to_roles() -> None:
    service = {"kind": "MeshService", "name": "s"}
    sectioned = {**service, "sectionName": "http"}
    spec = {"to": [{"targetRef": ref, "default": {"idleTimeout": "1s"}} for ref in (sectioned, service)]}
    mine = {"to": [TO_MESH]}
    entries = outbound_entries(
        items(
            policy("MeshTimeout", "z", spec),
            policy("MeshTimeout", "a", mine),
            policy("MeshTimeout", "y", mine, policy_role="consumer"),
        )
    )
    ordered = [(entry.source.meta.name, entry.source.rule_index) for entry in sort_outbound(entries)]
    assert ordered == [("a", 0), ("z", 1), ("z", 0), ("y", 0)]


def test_equal_elements_keep_their_position_in_the_policy() -> None:
    spec = {"to": [TO_MESH, TO_MESH, TO_MESH]}
    entries = list(outbound_entries(items(policy("MeshTimeout", "a", spec))))
    assert [entry.source.rule_index for entry in sort_outbound(entries)] == [0, 1, 2]
    assert [entry.source.rule_index for entry in sort_inbound(entries)] == [0, 1, 2]
