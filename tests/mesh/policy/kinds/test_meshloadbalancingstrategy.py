"""MeshLoadBalancingStrategy: what a spec may say."""

from __future__ import annotations

import pytest

from tests.mesh.policy.kinds.faults import faults, to_faults

KIND = "MeshLoadBalancingStrategy"


@pytest.mark.parametrize(
    "default",
    [
        "{}",
        "{loadBalancer: {type: RoundRobin}}",
        "{loadBalancer: {type: LeastRequest, leastRequest: {choiceCount: 2, activeRequestBias: '1.3'}}}",
        "{loadBalancer: {type: RingHash, ringHash: {hashPolicies: [{type: Header, header: {name: x}}]}}}",
        "{hashPolicies: [{type: Connection, connection: {sourceIP: true}, terminal: true}]}",
        "{localityAwareness: {localZone: {affinityTags: [{key: a, weight: 1}, {key: b, weight: 2}]}}}",
        "{localityAwareness: {localZone: {affinityTags: [{key: a}, {key: b}]}}}",
        "{localityAwareness: {crossZone: {failover: [{from: {zones: [a]}, to: {type: Only, zones: [b]}}]}}}",
        "{localityAwareness: {crossZone: {failoverThreshold: {percentage: '60.5'}}}}",
    ],
)
def test_valid(default: str) -> None:
    assert to_faults(KIND, default) == []


HASHED = ("header", "cookie", "connection", "queryParameter", "filterState")


@pytest.mark.parametrize("name", HASHED)
def test_a_hash_policy_needs_what_its_type_says(name: str) -> None:
    policy = f"{{type: {name[0].upper()}{name[1:]}}}"
    assert to_faults(KIND, f"{{hashPolicies: [{policy}]}}") == [
        (f"default.hashPolicies[0].{name}", "must be defined")
    ]
    for balancer in ("ringHash", "maglev"):
        kind = f"{balancer[0].upper()}{balancer[1:]}"
        conf = f"{{loadBalancer: {{type: {kind}, {balancer}: {{hashPolicies: [{policy}]}}}}}}"
        assert to_faults(KIND, conf) == [
            (f"default.loadBalancer.{balancer}.hashPolicies[0].{name}", "must be defined")
        ]


LOCAL, CROSS = "localityAwareness.localZone.affinityTags", "localityAwareness.crossZone"


@pytest.mark.parametrize(
    ("default", "field", "reason"),
    [
        (
            "{hashPolicies: [{type: Cookie, cookie: {name: a, path: b}}]}",
            "hashPolicies[0].cookie.path",
            "must be an absolute path",
        ),
        (
            "{hashPolicies: [], loadBalancer: {type: RingHash, ringHash: {hashPolicies: []}}}",
            "loadBalancer.ringHash.hashPolicies",
            "hashPolicies already specified in the root level",
        ),
        (
            "{loadBalancer: {type: LeastRequest, leastRequest: {activeRequestBias: '-1'}}}",
            "loadBalancer.leastRequest.activeRequestBias",
            "must be greater or equal then: 0",
        ),
        (
            "{localityAwareness: {localZone: {affinityTags: [{key: a, weight: 0}]}}}",
            f"{LOCAL}[0].weight",
            "must be greater than 0",
        ),
        (
            "{localityAwareness: {localZone: {affinityTags: [{key: ''}]}}}",
            f"{LOCAL}[0].key",
            "must not be empty",
        ),
        (
            "{localityAwareness: {localZone: {affinityTags: [{key: a, weight: 1}, {key: b}]}}}",
            LOCAL,
            "all or none affinity tags should have weight",
        ),
        (
            "{localityAwareness: {crossZone: {failover: [{from: {zones: []}, to: {type: Any}}]}}}",
            f"{CROSS}.failover[0].from.zones",
            "must not be empty",
        ),
        (
            "{localityAwareness: {crossZone: {failover: [{from: {zones: ['']}, to: {type: Any}}]}}}",
            f"{CROSS}.failover[0].from.zones[0]",
            "must not be empty",
        ),
        (
            "{localityAwareness: {crossZone: {failover: [{to: {type: None, zones: [a]}}]}}}",
            f"{CROSS}.failover[0].to.zones",
            "must be empty when type is None",
        ),
        (
            "{localityAwareness: {crossZone: {failover: [{to: {type: AnyExcept}}]}}}",
            f"{CROSS}.failover[0].to.zones",
            "must not be empty when type is AnyExcept",
        ),
        (
            "{localityAwareness: {crossZone: {failoverThreshold: {percentage: 0}}}}",
            f"{CROSS}.failoverThreshold.percentage",
            "must be greater than 0",
        ),
        (
            "{localityAwareness: {crossZone: {failoverThreshold: {percentage: x}}}}",
            f"{CROSS}.failoverThreshold.percentage",
            "string must be a valid number",
        ),
    ],
)
def test_invalid(default: str, field: str, reason: str) -> None:
    assert to_faults(KIND, default) == [(f"default.{field}", reason)]


def test_only_hash_policies_are_for_routes() -> None:
    found = to_faults(
        KIND,
        "{loadBalancer: {type: Random}, localityAwareness: {}, hashPolicies: []}",
        "{kind: MeshHTTPRoute, name: r}",
    )
    text = "field is not allowed when targetRef.kind is MeshHTTPRoute, only hashPolicies is supported"
    assert found == [("default.loadBalancer", text), ("default.localityAwareness", text)]


def test_traffic_to_one_meshservice_stays_in_its_zone() -> None:
    crossing = "{localityAwareness: {crossZone: {}}}"
    assert to_faults(KIND, crossing, "{kind: MeshService, labels: {a: b}}") == [
        (f"default.{CROSS}", "must not be set: MeshService traffic is local")
    ]
    assert to_faults(KIND, crossing, "{kind: MeshMultiZoneService, name: s}") == []


def test_gateways_have_one_algorithm_for_all() -> None:
    found = to_faults(
        KIND, "{loadBalancer: {type: Random}}", "{kind: MeshService, name: s}", "{kind: MeshGateway, name: g}"
    )
    text = "value 'MeshGateway' is not supported, only Mesh is allowed if loadBalancer is set"
    assert found == [("targetRef.kind", text)]


def test_an_unknown_destination() -> None:
    assert to_faults(KIND, "{}", "{kind: MeshServiceSubset, name: s}") == [
        ("targetRef.kind", "value 'MeshServiceSubset' is not supported")
    ]
    assert faults(KIND, "{targetRef: {kind: MeshExternalService, name: s}}") == [
        ("spec.targetRef.kind", "value 'MeshExternalService' is not supported")
    ]
