"""Near endpoints first: priorities of zones, weights inside the own one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from xds import proto
from xds.config.endpoints import Endpoint
from xds.config.localities import Place, placed_assignment
from xds.encode import socket_endpoint_frame


def endpoint(zone: str, port: int, **tags: str) -> Endpoint:
    frame = socket_endpoint_frame("10.0.0.1", port)
    return Endpoint(zone, frame, tuple(sorted(tags.items())), "10.0.0.1", port)


ENDPOINTS = [
    endpoint("home", 1, node="n1", rack="r1"),
    endpoint("home", 2, node="n2", rack="r1"),
    endpoint("home", 3, node="n3", rack="r2"),
    endpoint("east", 4),
    endpoint("west", 5),
]


def assigned(awareness: dict[str, Any] | None = None, **place: Any) -> dict[str, Any]:
    text = "" if awareness is None else msgspec.json.encode(awareness).decode()
    body = placed_assignment("c", ENDPOINTS, Place(zone="home", awareness=text, **place)).body
    return proto.to_json(proto.parse(proto.msg("envoy.config.endpoint.v3.ClusterLoadAssignment"), body))


def shape(assignment: dict[str, Any]) -> list[tuple[Any, ...]]:
    """(priority, zone, part of the zone, weight, ports) of each locality."""
    return [
        (
            found.get("priority", 0),
            found["locality"]["zone"],
            found["locality"].get("subZone", ""),
            found.get("loadBalancingWeight"),
            [e["endpoint"]["address"]["socketAddress"]["portValue"] for e in found["lbEndpoints"]],
        )
        for found in assignment["endpoints"]
    ]


def test_without_a_policy_all_zones_are_equal() -> None:
    assert [found[0] for found in shape(assigned())] == [0, 0, 0]


def test_a_mesh_may_prefer_the_own_zone() -> None:
    assert shape(assigned(zone_first=True)) == [
        (0, "home", "", None, [1, 2, 3]),
        (1, "east", "", None, [4]),
        (1, "west", "", None, [5]),
    ]


def test_a_policy_prefers_the_own_zone_unless_it_says_otherwise() -> None:
    assert [found[0] for found in shape(assigned({}))] == [0, 1, 1]
    assert [found[0] for found in shape(assigned({"disabled": True}))] == [0, 0, 0]


def test_failover_goes_rule_by_rule_and_nowhere_else() -> None:
    rules = [
        {"from": {"zones": ["elsewhere"]}, "to": {"type": "Any"}},
        {"to": {"type": "Only", "zones": ["west"]}},
        {"from": {"zones": ["home"]}, "to": {"type": "AnyExcept", "zones": ["east"]}},
    ]
    found = assigned({"crossZone": {"failover": rules}})
    assert [(priority, zone) for priority, zone, *_ in shape(found)] == [(0, "home"), (2, "west")]
    assert found["policy"] == {"overprovisioningFactor": 200}


@pytest.mark.parametrize(("percentage", "factor"), [(25, 400), ("62.5", 160), (100, 100)])
def test_the_threshold_is_an_overprovisioning_factor(percentage: Any, factor: int) -> None:
    found = assigned({"crossZone": {"failoverThreshold": {"percentage": percentage}}})
    assert found["policy"] == {"overprovisioningFactor": factor}


def test_conf_that_says_where_has_a_threshold_and_weighs_the_own_zone() -> None:
    found = assigned({"localZone": {"affinityTags": []}})
    assert found["policy"] == {"overprovisioningFactor": 200}
    assert [(zone, weight) for _, zone, _, weight, _ in shape(found)] == [
        ("home", 1),
        ("east", None),
        ("west", None),
    ]
    assert "policy" not in assigned({"disabled": False})


def test_none_keeps_traffic_at_home() -> None:
    found = assigned({"crossZone": {"failover": [{"to": {"type": "None"}}]}})
    assert [zone for _, zone, *_ in shape(found)] == ["home"]


def test_the_same_node_gets_most_the_same_rack_most_of_the_rest() -> None:
    tags = {"localZone": {"affinityTags": [{"key": "node"}, {"key": "rack"}]}}
    assert shape(assigned(tags, tags=(("node", "n1"), ("rack", "r1"))))[:3] == [
        (0, "home", "", 1, [3]),
        (0, "home", "node=n1", 90, [1]),
        (0, "home", "rack=r1", 9, [2]),
    ]


def test_weights_may_be_given() -> None:
    tags = {"localZone": {"affinityTags": [{"key": "rack", "weight": 7}]}}
    found = shape(assigned(tags, tags=(("rack", "r2"),)))
    assert [(part, weight) for _, zone, part, weight, _ in found if zone == "home"] == [
        ("", 1),
        ("rack=r2", 7),
    ]


def test_a_client_without_the_tag_has_no_preference() -> None:
    tags = {"localZone": {"affinityTags": [{"key": "rack"}]}}
    assert [found[2] for found in shape(assigned(tags))] == ["", "", ""]


def test_a_proxy_that_names_no_zone_is_near() -> None:
    """A client knows its zone by its label too, so a missing tag must not make neighbours strangers."""
    rule = {"crossZone": {"failover": [{"to": {"type": "Only", "zones": ["east"]}}]}}
    place = Place(zone="home", awareness=msgspec.json.encode(rule).decode())
    body = placed_assignment("c", [endpoint("", 1), endpoint("east", 2)], place).body
    message = proto.parse(proto.msg("envoy.config.endpoint.v3.ClusterLoadAssignment"), body)
    assert [found.get("priority", 0) for found in proto.to_json(message)["endpoints"]] == [0, 1]
