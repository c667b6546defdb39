"""Inbound rules: what is for all traffic, what only for some, and `from` read as rules."""

from __future__ import annotations

from typing import Any

from mesh.policy.inbound import InboundRules, inbound_rules, match_rank
from mesh.policy.order import sort_policies
from tests.mesh.policy.resources import items, policy


def _spiffe(kind: str, value: str) -> dict[str, Any]:
    return {"spiffeID": {"type": kind, "value": value}}


def _rule(seconds: int, *matches: dict[str, Any]) -> dict[str, Any]:
    return {
        "default": {"http": {"requestTimeout": f"{seconds}s"}},
        **({"matches": list(matches)} if matches else {}),
    }


def _rules(*specs: dict[str, Any], kind: str = "MeshTimeout") -> InboundRules:
    policies = [policy(kind, f"p{index}", spec) for index, spec in enumerate(specs)]
    return inbound_rules(kind, sort_policies(items(*policies)))


def test_rules_for_all_traffic_are_merged() -> None:
    rules = _rules({"rules": [_rule(1), {"default": {"idleTimeout": "5s"}}]}, {"rules": [_rule(2)]})
    merged = rules.catch_all()
    assert merged is not None
    assert merged.conf == {"http": {"requestTimeout": "1s"}, "idleTimeout": "5s"}
    assert [(s.meta.name, s.rule_index) for s in merged.origins] == [("p1", 0), ("p0", 0), ("p0", 1)]


def test_rules_with_matches_are_tried_from_the_most_precise() -> None:
    exact = _spiffe("Exact", "spiffe://a/b")
    long, short = _spiffe("Prefix", "spiffe://a/b"), _spiffe("Prefix", "spiffe://a")
    sni = {"sni": {"type": "Exact", "value": "x.example"}}
    both = exact | sni
    rules = _rules({"rules": [_rule(n, m) for n, m in enumerate((sni, short, exact, long, both), 1)]})
    assert [match for match, _ in rules.matched()] == [both, exact, long, short, sni]


def test_a_rule_with_a_match_stands_on_the_catch_all() -> None:
    match = _spiffe("Exact", "spiffe://a/b")
    rules = _rules({"rules": [_rule(1), {"default": {"idleTimeout": "5s"}}, _rule(3, match)]})
    ((_, rule),) = rules.matched()
    assert rule.conf == {"http": {"requestTimeout": "3s"}, "idleTimeout": "5s"}


def test_equal_matches_of_two_policies_are_one_rule() -> None:
    match = _spiffe("Exact", "spiffe://a/b")
    rules = _rules({"rules": [_rule(1, match)]}, {"rules": [_rule(2, match)]})
    ((_, rule),) = rules.matched()
    assert rule.conf == {"http": {"requestTimeout": "1s"}}
    assert len(rule.origins) == 2


def test_each_match_of_a_rule_counts() -> None:
    rules = _rules({"rules": [_rule(1, _spiffe("Exact", "spiffe://a/b"), _spiffe("Exact", "spiffe://a/c"))]})
    assert len(rules.rules) == 2
    assert rules.catch_all() is None


def test_from_is_another_spelling_of_rules_for_some_kinds() -> None:
    spec = {"from": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "5s"}}]}
    merged = _rules(spec).catch_all()
    assert merged is not None
    assert merged.conf == {"idleTimeout": "5s"}


def test_from_of_other_kinds_is_not() -> None:
    spec = {"from": [{"targetRef": {"kind": "Mesh"}, "default": {"action": "Allow"}}]}
    assert not _rules(spec, kind="MeshTrafficPermission")


def test_a_policy_with_to_alone_has_no_inbound_rule() -> None:
    assert not _rules({"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "5s"}}]})


def test_an_exact_identity_ranks_before_any_prefix() -> None:
    exact = match_rank(_spiffe("Exact", "spiffe://a"))
    assert exact < match_rank(_spiffe("Prefix", "spiffe://a/very/long/path")) < match_rank({})
