"""Merged `to` rules: what they cover, how they are found, what they depend on."""

from __future__ import annotations

from typing import Any

from mesh.policy.order import sort_policies
from mesh.policy.outbound import OutboundRules, outbound_rules
from mesh.resource import Resource
from tests.mesh.policy.resources import Recorder, items, parse, policy

WORLD = parse(
    """
    type: Mesh
    name: default
    ---
    type: MeshService
    name: db
    labels: {tier: data}
    spec: {ports: [{port: 5432, name: pg, appProtocol: tcp}, {port: 80, appProtocol: http}]}
    ---
    type: MeshService
    name: cache
    labels: {tier: data}
    spec: {ports: [{port: 6379, appProtocol: tcp}]}
    ---
    type: MeshHTTPRoute
    name: r
    spec: {to: []}
    ---
    type: MeshExternalService
    name: mail
    spec: {match: {type: HostnameGenerator, port: 25}}
    """
)
DB, CACHE = "kri_msvc_default___db_", "kri_msvc_default___cache_"
ROUTE = "kri_mhttpr_default___r_"


def _to(idle: str, **ref: Any) -> dict[str, Any]:
    return {"targetRef": ref, "default": {"idleTimeout": idle}}


def _timeout(name: str, *to: dict[str, Any], **labels: str) -> Resource:
    return policy("MeshTimeout", name, {"to": list(to)}, **labels)


def _rules(*policies: Resource, reader: Recorder | None = None) -> OutboundRules:
    ordered = sort_policies(items(*policies))
    return outbound_rules(reader or Recorder(WORLD), "MeshTimeout", "default", ordered)


def _idle(rules: OutboundRules, destination: str, section: str = "") -> str | None:
    rule = rules.conf_for(destination, section)
    return rule.conf["idleTimeout"] if rule else None


def test_lookups_fall_back_from_section_to_resource_to_mesh() -> None:
    rules = _rules(
        _timeout(
            "t",
            _to("1s", kind="Mesh"),
            _to("2s", kind="MeshService", name="db"),
            _to("3s", kind="MeshService", name="db", sectionName="pg"),
        )
    )
    assert _idle(rules, DB, "pg") == "3s"
    assert _idle(rules, DB, "80") == _idle(rules, DB) == "2s"
    assert _idle(rules, CACHE, "6379") == "1s"
    assert sorted(rule.destination.section for rule in rules) == ["", "", "pg"]


def test_without_a_rule_for_the_mesh_others_have_none() -> None:
    rules = _rules(_timeout("t", _to("2s", kind="MeshService", name="db")))
    assert rules.conf_for(CACHE) is None
    assert rules.for_mesh() is None


def test_labels_select_any_number_of_destinations() -> None:
    rules = _rules(_timeout("t", _to("2s", kind="MeshService", labels={"tier": "data"})))
    assert list(rules.rules) == [CACHE, DB]


def test_ports_without_a_name_are_named_by_number() -> None:
    rules = _rules(_timeout("t", _to("2s", kind="MeshService", name="db", sectionName="80")))
    assert list(rules.rules) == [DB + "80"]


def test_the_port_of_an_external_service_is_a_section_too() -> None:
    rules = _rules(_timeout("t", _to("2s", kind="MeshExternalService", name="mail", sectionName="25")))
    assert list(rules.rules) == ["kri_extsvc_default___mail_25"]


def test_old_service_names_mean_a_namespace_and_a_port() -> None:
    world = parse(
        """
        type: MeshService
        name: db-hash
        labels: {kuma.io/display-name: db, k8s.kuma.io/namespace: shop}
        spec: {ports: [{port: 5432, name: pg}]}
        """
    )
    old = _timeout("t", _to("2s", kind="MeshService", name="db_shop_svc_5432"))
    assert list(_rules(old, reader=Recorder(world)).rules) == ["kri_msvc_default__shop_db_pg"]
    assert list(_rules(old).rules) == []


def test_routes_have_rules_of_their_own_over_those_of_the_mesh() -> None:
    rules = _rules(
        _timeout(
            "t",
            _to("1s", kind="Mesh"),
            _to("2s", kind="MeshService", name="db"),
            {
                "targetRef": {"kind": "MeshHTTPRoute", "name": "r"},
                "default": {"http": {"requestTimeout": "9s"}},
            },
        )
    )
    route = rules.conf_for_route(ROUTE, DB)
    assert route is not None
    assert route.conf == {"idleTimeout": "1s", "http": {"requestTimeout": "9s"}}
    other = rules.conf_for_route("kri_mhttpr_default___other_", DB)
    assert other is not None
    assert other.conf == {"idleTimeout": "2s"}


def test_origins_are_the_contributing_elements_in_order() -> None:
    rules = _rules(
        _timeout("a", _to("2s", kind="MeshService", name="db"), _to("1s", kind="Mesh")),
        _timeout("b", _to("3s", kind="MeshService", name="db")),
    )
    rule = rules.conf_for(DB)
    assert rule is not None
    assert [(s.meta.name, s.rule_index) for s in rule.origins] == [("a", 1), ("b", 0), ("a", 0)]
    assert rule.conf == {"idleTimeout": "2s"}


def test_reads_are_by_key_and_index_not_by_kind() -> None:
    reader = Recorder(WORLD)
    _rules(_timeout("t", _to("2s", kind="MeshService", name="db"), _to("1s", kind="Mesh")), reader=reader)
    assert ("list", "MeshService", "default") not in reader.asked
    assert set(reader.asked) == {
        ("get", "Mesh", "", "default"),
        ("by_display_name", "MeshService", "default", "db"),
        ("get", "MeshService", "default", "db"),
    }


def test_merged_routes_know_who_wrote_them_last() -> None:
    def route(name: str, *paths: str) -> Resource:
        rules = [
            {"matches": [{"path": {"type": "Exact", "value": path}}], "default": {"filters": []}}
            for path in paths
        ]
        return policy(
            "MeshHTTPRoute",
            name,
            {"to": [{"targetRef": {"kind": "MeshService", "name": "db"}, "rules": rules}]},
        )

    ordered = sort_policies(items(route("a", "/x"), route("b", "/x", "/y")))
    rules = outbound_rules(Recorder(WORLD), "MeshHTTPRoute", "default", ordered)
    rule = rules.conf_for(DB)
    assert rule is not None
    assert [r["matches"][0]["path"]["value"] for r in rule.conf["rules"]] == ["/x", "/y"]
    assert sorted(source.meta.name for source in rule.by_matches.values()) == ["a", "b"]


def test_the_connection_rule_of_a_tcp_route_is_its_conf() -> None:
    spec = {
        "to": [
            {
                "targetRef": {"kind": "MeshService", "name": "db"},
                "rules": [{"default": {"backendRefs": [{"kind": "MeshService", "name": "cache"}]}}],
            }
        ]
    }
    rules = outbound_rules(
        Recorder(WORLD), "MeshTCPRoute", "default", items(policy("MeshTCPRoute", "t", spec))
    )
    rule = rules.conf_for(DB)
    assert rule is not None
    assert rule.conf == {"default": {"backendRefs": [{"kind": "MeshService", "name": "cache", "weight": 1}]}}
