"""Rules by tags: disjoint alternatives of overlapping selectors, bounded in number."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.policy.inbound import from_entries
from mesh.policy.limits import SUBSET_TAGS_MAX
from mesh.policy.merge import merge_confs
from mesh.policy.order import sort_policies
from mesh.policy.outbound import outbound_entries
from mesh.policy.subset import (
    MATCHES_TAG,
    SubsetRule,
    Tag,
    TooManySubsets,
    by_precedence,
    contains,
    expand_routes,
    from_subset_rules,
    overlap,
    subset_of,
    to_subset_rules,
)
from mesh.policy.values import Entry
from mesh.resource import Resource
from tests.mesh.policy.resources import Recorder, items, policy


def _permission(*from_: tuple[dict[str, str], str]) -> Resource:
    return policy(
        "MeshTrafficPermission",
        "p",
        {
            "from": [
                {
                    "targetRef": {"kind": "MeshSubset", "tags": tags} if tags else {"kind": "Mesh"},
                    "default": {"action": action},
                }
                for tags, action in from_
            ]
        },
    )


def _entries(resource: Resource) -> list[Entry]:
    return list(from_entries(items(resource)))


def _first(rules: list[SubsetRule], tags: Mapping[str, str]) -> Any:
    """What the first rule says that a client with these tags is in."""
    for rule in by_precedence(rules):
        if all((tags.get(tag.key) == tag.value) != tag.negated for tag in rule.subset):
            return rule.conf
    return None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3),
            st.sampled_from(["Allow", "Deny", "AllowWithShadowDeny"]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_each_client_gets_what_the_selectors_that_contain_it_say_together(
    selectors: list[tuple[dict[str, str], str]],
) -> None:
    entries = _entries(_permission(*selectors))
    rules = from_subset_rules("MeshTrafficPermission", entries)
    for values in itertools.product("xy", repeat=3):
        client = dict(zip("abc", values, strict=True))
        relevant = [e.conf for e in entries if all(client[t.key] == t.value for t in subset_of(e.target))]
        wanted = merge_confs("MeshTrafficPermission", relevant)
        assert _first(rules, client) == (wanted[0] if wanted else None)


def test_unrelated_selectors_cost_no_more_than_their_number() -> None:
    services = [({"kuma.io/service": f"s{n}"}, "Allow") for n in range(200)]
    started = time.perf_counter()
    rules = from_subset_rules("MeshTrafficPermission", _entries(_permission(({}, "Deny"), *services)))
    assert len(rules) == 400
    assert time.perf_counter() - started < 10


def test_too_many_overlapping_selectors_are_refused_by_name() -> None:
    selectors = [({f"t{n}": "x"}, "Allow") for n in range(SUBSET_TAGS_MAX + 1)]
    with pytest.raises(TooManySubsets, match=r"MeshTrafficPermission p: .* overlap in 13 tags, at most 12"):
        from_subset_rules("MeshTrafficPermission", _entries(_permission(*selectors)))


def test_no_element_makes_no_rule() -> None:
    assert from_subset_rules("MeshTrafficPermission", []) == []
    assert to_subset_rules("MeshTimeout", []) == []


def test_containment_of_negations() -> None:
    a, not_a, not_b = Tag("k", "a"), Tag("k", "a", True), Tag("k", "b", True)
    assert contains((), (a,))
    assert contains((a,), (a, Tag("other", "x")))
    assert contains((not_b,), (a,))
    assert not contains((not_a,), (a,))
    assert not contains((a,), (not_b,))
    assert not contains((a,), ())


def test_subsets_overlap_unless_they_disagree_on_a_value() -> None:
    assert overlap((), (Tag("k", "a"),))
    assert overlap((Tag("k", "a"),), (Tag("l", "b"),))
    assert not overlap((Tag("k", "a"),), (Tag("k", "b"), Tag("l", "b")))


def test_a_policy_for_a_route_has_rules_by_the_hash_of_its_matches() -> None:
    route = policy(
        "MeshHTTPRoute",
        "r",
        {
            "to": [
                {
                    "targetRef": {"kind": "MeshService", "name": "db"},
                    "rules": [
                        {"matches": [{"path": {"type": "Exact", "value": path}}], "default": {}}
                        for path in ("/a", "/b")
                    ],
                }
            ]
        },
    )
    timeout = policy(
        "MeshTimeout",
        "t",
        {
            "targetRef": {"kind": "MeshHTTPRoute", "name": "r"},
            "to": [{"targetRef": {"kind": "Mesh"}, "default": {"http": {"requestTimeout": "1s"}}}],
        },
    )
    entries = expand_routes(Recorder([route]), sort_policies(items(timeout)))
    rules = to_subset_rules("MeshTimeout", entries)
    assert [[tag.key for tag in rule.subset] for rule in rules] == [[MATCHES_TAG, "kuma.io/service"]] * 2
    assert expand_routes(Recorder(), items(timeout)) == []


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_policy_for_a_service_wins_over_one_for_the_mesh_whatever_their_names(name: str) -> None:
    db = {"kind": "MeshService", "name": "db"}
    below = policy("MeshTimeout", "m", {"to": [_timeout({"kind": "Mesh"}, "1s")]})
    above = policy("MeshTimeout", name, {"to": [_timeout(db, "2s")]})
    rules = to_subset_rules("MeshTimeout", list(outbound_entries(sort_policies(items(below, above)))))
    assert [(rule.subset, rule.conf) for rule in rules] == [
        ((Tag("kuma.io/service", "db"),), {"idleTimeout": "2s"}),
        ((), {"idleTimeout": "1s"}),
    ]


def test_the_place_in_a_policy_does_not_make_the_mesh_win_over_a_service() -> None:
    spec = {"to": [_timeout({"kind": "MeshService", "name": "db"}, "2s"), _timeout({"kind": "Mesh"}, "1s")]}
    rules = to_subset_rules("MeshTimeout", list(outbound_entries(items(policy("MeshTimeout", "a", spec)))))
    assert rules[0].conf == {"idleTimeout": "2s"}


def test_the_role_of_an_author_beats_a_service() -> None:
    below = policy("MeshTimeout", "a", {"to": [_timeout({"kind": "MeshService", "name": "db"}, "2s")]})
    above = policy("MeshTimeout", "b", {"to": [_timeout({"kind": "Mesh"}, "1s")]}, policy_role="consumer")
    rules = to_subset_rules("MeshTimeout", list(outbound_entries(sort_policies(items(below, above)))))
    assert rules[0].conf == {"idleTimeout": "1s"}


def _timeout(target: dict[str, str], idle: str) -> dict[str, Any]:
    return {"targetRef": target, "default": {"idleTimeout": idle}}
