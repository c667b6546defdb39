"""Suite `rules-inbound`: policies in, the ordered inbound rules out."""

from __future__ import annotations

from typing import Any

import yaml

from mesh.policy.inbound import InboundRules, inbound_rules
from mesh.policy.order import sort_policies
from tests.conformance.policy_cases import Score, items, load, policy_kind, suite_folder


def inbound_json(rules: InboundRules) -> list[dict[str, Any]]:
    """Rules in the shape of the goldens."""
    return [
        {
            "conf": rule.conf,
            "match": rule.match,
            "origin": (rule.source.meta.kri, rule.source.rule_index),
        }
        for rule in rules.rules
    ]


def golden_inbound(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A golden with origins reduced to policy and rule index."""
    return [
        {**rule, "origin": (rule["origin"]["Resource"]["kri"], rule["origin"]["RuleIndex"])} for rule in rules
    ]


def test_inbound_rules() -> None:
    folder = suite_folder("rules-inbound/inboundrules")
    score = Score("rules-inbound")
    for golden in sorted(folder.glob("*.golden.yaml")):
        resources = load(golden.with_name(golden.name.replace(".golden.", ".input.")))
        kind = policy_kind(resources)
        got = inbound_json(inbound_rules(kind, sort_policies(items(resources, kind))))
        score.check(golden.name, got, golden_inbound(yaml.safe_load(golden.read_text())["rules"]))
    score.finish()
