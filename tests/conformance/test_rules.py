"""Suite `rules`: policies that all apply in; rules by tags, inbound rules and single confs out."""

from __future__ import annotations

from typing import Any

import yaml

from mesh.policy.inbound import from_entries, inbound_rules
from mesh.policy.outbound import Rule, outbound_rules
from mesh.policy.single import single_rule
from mesh.policy.subset import (
    SubsetRule,
    expand_routes,
    from_subset_rules,
    to_subset_rules,
)
from mesh.policy.values import Item
from mesh.resource import Resource
from tests.conformance.policy_cases import Score, Store, items, load, policy_kind, suite_folder
from tests.conformance.test_rules_inbound import golden_inbound, inbound_json

INBOUND = "127.0.0.1:80"


def subset_json(rules: list[SubsetRule]) -> list[dict[str, Any]]:
    """Rules by tags in the shape of the goldens."""
    return [
        {
            "conf": rule.conf,
            "origin": [source.meta.kri for source in rule.rule.origins],
            "subset": [(tag.key, tag.negated, tag.value) for tag in rule.subset],
        }
        for rule in rules
    ]


def golden_subset(rules: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """A golden with origins reduced to KRIs."""
    return [
        {
            "conf": rule["Conf"],
            "origin": [meta["kri"] for meta in rule["Origin"]],
            "subset": [(tag["Key"], tag["Not"], tag["Value"]) for tag in rule["Subset"]],
        }
        for rule in rules or ()
    ]


def _from(kind: str, policies: list[Item]) -> dict[str, Any]:
    return {
        "InboundRules": inbound_json(inbound_rules(kind, policies)),
        "Rules": subset_json(from_subset_rules(kind, list(from_entries(policies)))),
    }


def _to(kind: str, policies: list[Item], resources: list[Resource]) -> dict[str, Any]:
    store = Store(resources)
    rules = outbound_rules(store, kind, policies[0].meta.mesh, policies)
    return {
        "ResourceRules": [rule.destination.kri for rule in rules],
        "Rules": subset_json(to_subset_rules(kind, expand_routes(store, policies))),
    }


def _single(kind: str, policies: list[Item]) -> list[dict[str, Any]]:
    rule: Rule | None = single_rule(kind, policies)
    if rule is None:
        return []
    return [{"conf": rule.conf, "origin": [source.meta.kri for source in rule.origins], "subset": []}]


def test_rules() -> None:
    folder = suite_folder("rules/rules")
    score = Score("rules")
    for golden in sorted(folder.glob("*/*.golden.yaml")):
        case = f"{golden.parent.name}/{golden.name}"
        resources = load(golden.with_name(golden.name.replace(".golden.", ".input.")))
        kind = policy_kind(resources)
        policies = items(resources, kind)  # as if selected and ordered already
        wanted = yaml.safe_load(golden.read_text())
        match golden.parent.name:
            case "from":
                inbound = golden_inbound((wanted.get("InboundRules") or {}).get(INBOUND) or [])
                by_tags = golden_subset((wanted.get("Rules") or {}).get(INBOUND))
                score.check(case, _from(kind, policies), {"InboundRules": inbound, "Rules": by_tags})
            case "to":
                keys = sorted(wanted.get("ResourceRules") or {})
                by_tags = golden_subset(wanted["Rules"])
                got = _to(kind, policies, resources)
                score.check(case, got, {"ResourceRules": keys, "Rules": by_tags})
            case _:
                score.check(case, _single(kind, policies), golden_subset(wanted["Rules"]))
    score.finish()
