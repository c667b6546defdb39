"""Every leaf of a merged conf names its policies."""

from __future__ import annotations

from typing import Any

from mesh.policy.explain import passed_over, provenance
from mesh.policy.order import sort_policies
from mesh.policy.single import single_rule
from mesh.policy.targetref import matched
from tests.mesh.policy.resources import Recorder, items, one, policy


def _writers(kind: str, *defaults: dict[str, Any]) -> dict[str, list[str]]:
    """Writers of each leaf; the first conf is the least important."""
    policies = [policy(kind, f"p{9 - index}", {"default": conf}) for index, conf in enumerate(defaults)]
    rule = single_rule(kind, sort_policies(items(*policies)))
    assert rule is not None
    return {leaf: [source.meta.name for source in sources] for leaf, sources in provenance(rule).items()}


def test_the_deciding_policy_is_the_last_one_named() -> None:
    writers = _writers(
        "MeshTrace",
        {"sampling": {"overall": 10, "client": 20}},
        {"sampling": {"overall": 30}},
    )
    assert writers == {"/sampling/overall": ["p9", "p8"], "/sampling/client": ["p9"]}


def test_a_list_is_one_leaf() -> None:
    writers = _writers("MeshTrace", {"tags": [{"name": "a", "literal": "b"}]}, {"tags": []})
    assert writers == {"/tags": ["p9", "p8"]}


def test_lists_that_collect_name_all_contributors() -> None:
    match = {"type": "IP", "value": "10.0.0.1"}
    writers = _writers("MeshPassthrough", {"appendMatch": [match]}, {"appendMatch": [match]})
    assert writers == {"/appendMatch": ["p9", "p8"]}


def test_an_empty_object_changes_nothing() -> None:
    writers = _writers("MeshTrace", {"sampling": {"overall": 10}}, {"sampling": {}}, {})
    assert writers == {"/sampling/overall": ["p9"]}


def test_policies_that_do_not_apply_say_why() -> None:
    dataplane = one("{type: Dataplane, name: d, networking: {address: 10.0.0.1, inbound: [{port: 80}]}}")
    other = policy("MeshTrace", "t", {"targetRef": {"kind": "Dataplane", "labels": {"app": "x"}}})
    found = matched(Recorder([dataplane, other]), dataplane, "MeshTrace")
    assert passed_over(found) == [
        {"name": "t", "kri": "kri_mtr_default___t_", "reason": "selects proxies with labels app=x"}
    ]
