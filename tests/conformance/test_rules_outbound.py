"""Suite `rules-outbound`: resources in, merged `to` rules by destination out, wherever the policy was written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from mesh.policy.order import sort_outbound, sort_policies
from mesh.policy.outbound import outbound_entries, outbound_rules
from mesh.resource import Resource
from tests.conformance.policy_cases import (
    Score,
    Store,
    display_names,
    items,
    load,
    policy_kind,
    suite_folder,
    written_in_zone,
    written_on_global,
)

_MODE = re.compile(r"(?P<author>zone|global)-uni(?P<copied>-2-(?:zone|global)-uni)?")
UNDER_TEST = "matched-for-rules"


def copy_for(mode: str) -> Callable[[Resource], Resource]:
    """How resources look in the store of one mode: `<who wrote them>[-2-<who has the copy>]`."""
    parts = _MODE.fullmatch(mode)
    assert parts, f"unknown mode {mode}"
    copied = bool(parts["copied"])
    if parts["author"] == "zone":
        return lambda resource: written_in_zone(resource, "zone-uni", copied=copied)
    return lambda resource: written_on_global(resource, copied=copied)


def _rules(resources: list[Resource]) -> dict[str, Any]:
    tested = [resource for resource in resources if resource.name.startswith(UNDER_TEST)]
    kind = policy_kind(tested)
    rules = outbound_rules(Store(resources), kind, tested[0].mesh, sort_policies(items(tested, kind)))
    return {
        rule.destination.kri: {
            "conf": list(rule.confs),
            "origin": [(source.meta.display_name, source.rule_index) for source in rule.origins],
            "section": rule.destination.section,
        }
        for rule in rules
    }


def _golden(path: Path) -> dict[str, Any]:
    golden = yaml.safe_load(path.read_text()) or {}
    return {
        key: {
            "conf": rule["Conf"],
            "origin": [(_name(origin["Resource"]), origin["RuleIndex"]) for origin in rule["Origin"]],
            "section": rule["ResourceSectionName"],
        }
        for key, rule in golden.items()
    }


def _name(meta: dict[str, Any]) -> str:
    return display_names([{key.lower(): value for key, value in meta.items()}])[0]


def test_resource_rules() -> None:
    folder = suite_folder("rules-outbound/resourcerules")
    score = Score("rules-outbound/resourcerules")
    for golden in sorted(folder.glob("*/*.golden.yaml")):
        mode = golden.name.removesuffix(".golden.yaml")
        if "k8s" in mode:
            score.skip("Kubernetes")
            continue
        resources = load(folder / f"{golden.parent.name}.input.yaml")
        got = _rules([copy_for(mode)(resource) for resource in resources])
        score.check(f"{golden.parent.name}/{mode}", got, _golden(golden))
    score.finish()


def test_order() -> None:
    folder = suite_folder("rules-outbound/sort")
    score = Score("rules-outbound/sort")
    for golden in sorted(folder.glob("*.golden.yaml")):
        resources = load(golden.with_name(golden.name.replace(".golden.", ".input.")))
        kind = policy_kind(resources)
        got = [
            {
                "entry": {"targetRef": dict(entry.target), "default": entry.conf},
                "index": entry.source.rule_index,
                "top": dict(entry.top),
                "kri": entry.source.meta.kri,
                "labels": dict(entry.source.meta.labels),
            }
            for entry in sort_outbound(outbound_entries(items(resources, kind)))
        ]
        wanted = [
            {
                "entry": entry["Entry"],
                "index": entry["RuleIndex"],
                "top": entry["TopLevel"],
                "kri": entry["Meta"]["kri"],
                "labels": entry["Meta"].get("labels") or {},
            }
            for entry in yaml.safe_load(golden.read_text())
        ]
        score.check(golden.name, got, wanted)
    score.finish()
