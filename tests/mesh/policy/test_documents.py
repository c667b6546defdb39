"""What the inspection API shows beyond the published cases."""

from __future__ import annotations

from typing import Any

from mesh.policy import documents
from mesh.resource import Resource
from tests.mesh.policy.resources import Recorder, one, parse, policy

DATAPLANE = one(
    """
    type: Dataplane
    name: d
    networking: {address: 10.0.0.1, inbound: [{port: 80, name: http, tags: {kuma.io/service: web}}]}
    """
)
TO_MESH = {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"idleTimeout": "60s"}}]}


def _reader(mode: str, *policies: Resource) -> Recorder:
    meshes = parse(f"{{type: Mesh, name: default, meshServices: {{mode: {mode}}}}}")
    return Recorder([*meshes, DATAPLANE, *policies])


def _rules(reader: Recorder, **options: Any) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = documents.rules_document(reader, DATAPLANE, **options)["rules"]
    return rules


def test_rules_by_tags_do_not_exist_where_only_real_services_do() -> None:
    timeout = policy("MeshTimeout", "t", TO_MESH)
    (everywhere,) = _rules(_reader("Everywhere", timeout))
    (exclusive,) = _rules(_reader("Exclusive", timeout))
    assert [rule["conf"] for rule in everywhere["toRules"]] == [{"idleTimeout": "1m0s"}]
    assert exclusive["toRules"] == []
    assert exclusive["toResourceRules"] == everywhere["toResourceRules"]


def test_shadow_policies_show_when_asked() -> None:
    reader = _reader("Exclusive", policy("MeshTimeout", "t", TO_MESH, effect="shadow"))
    assert _rules(reader) == []
    assert len(_rules(reader, shadow=True)) == 1


def test_an_inbound_rule_shows_its_match() -> None:
    match = {"spiffeID": {"type": "Exact", "value": "spiffe://mesh/a"}}
    rules = [{"matches": [match], "default": {"http": {"requestTimeout": "1s"}}}]
    reader = _reader("Exclusive", policy("MeshTimeout", "t", {"rules": rules}))
    (rule,) = _rules(reader)
    assert rule["inboundRules"][0]["rules"][0]["match"] == match
    document = documents.inbound_policies_document(reader, DATAPLANE, "http")
    assert document["policies"][0]["rules"][0]["match"] == match
    assert documents.inbound_policies_document(reader, DATAPLANE, "other") == {"policies": []}


def test_kinds_are_listed_in_the_order_in_which_they_apply() -> None:
    reader = _reader(
        "Exclusive",
        policy("MeshRetry", "r", {"to": [{"targetRef": {"kind": "Mesh"}, "default": {"tcp": {}}}]}),
        policy("MeshTimeout", "t", TO_MESH),
        policy("MeshTrace", "x", {"default": {"backends": []}}),
    )
    assert [rule["type"] for rule in _rules(reader)] == ["MeshTrace", "MeshTimeout", "MeshRetry"]


def test_affected_proxies_include_those_of_shadow_policies() -> None:
    shadow = policy("MeshTimeout", "t", TO_MESH, effect="shadow")
    assert documents.selected_dataplanes(_reader("Exclusive", shadow), shadow) == [DATAPLANE]
