"""Policies with one default."""

from __future__ import annotations

from mesh.policy.order import sort_policies
from mesh.policy.single import single_rule
from tests.mesh.policy.resources import items, policy


def test_defaults_are_merged_and_known_by_their_policies() -> None:
    policies = items(
        policy("MeshTrace", "a", {"default": {"sampling": {"overall": 10}}}),
        policy("MeshTrace", "b", {"default": {"sampling": {"overall": 20, "client": 30}}}),
    )
    rule = single_rule("MeshTrace", sort_policies(policies))
    assert rule is not None
    assert rule.conf == {"sampling": {"overall": 10, "client": 30}}
    assert [source.meta.name for source in rule.origins] == ["b", "a"]


def test_no_policy_is_no_rule() -> None:
    assert single_rule("MeshTrace", []) is None
