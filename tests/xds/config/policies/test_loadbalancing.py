"""MeshLoadBalancingStrategy: algorithms on clusters, hash policies on routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import HTTP_CLUSTER, HTTP_OUT, TCP_OUT, Sidecar, prefix, route, to

KIND = "MeshLoadBalancingStrategy"
HASHES = [
    {"type": "Header", "header": {"name": "x-user"}, "terminal": True},
    {"type": "Cookie", "cookie": {"name": "sid", "path": "/", "ttl": "1h"}},
    {"type": "QueryParameter", "queryParameter": {"name": "q"}},
    {"type": "FilterState", "filterState": {"key": "k"}},
    {"type": "Connection", "connection": {"sourceIP": True}},
]


@pytest.mark.parametrize(
    ("balancer", "expected"),
    [
        ({"type": "RoundRobin"}, {}),
        ({"type": "Random"}, {"lbPolicy": "RANDOM"}),
        (
            {"type": "LeastRequest", "leastRequest": {"choiceCount": 3, "activeRequestBias": "1.5"}},
            {
                "lbPolicy": "LEAST_REQUEST",
                "leastRequestLbConfig": {
                    "choiceCount": 3,
                    "activeRequestBias": {"defaultValue": 1.5, "runtimeKey": "least_request_bias"},
                },
            },
        ),
        (
            {"type": "RingHash", "ringHash": {"hashFunction": "MurmurHash2", "minRingSize": 64}},
            {
                "lbPolicy": "RING_HASH",
                "ringHashLbConfig": {"hashFunction": "MURMUR_HASH_2", "minimumRingSize": "64"},
            },
        ),
        (
            {"type": "Maglev", "maglev": {"tableSize": 17}},
            {"lbPolicy": "MAGLEV", "maglevLbConfig": {"tableSize": "17"}},
        ),
    ],
)
def test_algorithms(balancer: dict[str, Any], expected: dict[str, Any]) -> None:
    cluster = Sidecar(to(KIND, {"loadBalancer": balancer})).cluster(HTTP_CLUSTER)
    assert {key: value for key, value in cluster.items() if "lb" in key.lower()} == expected


def test_hash_policies() -> None:
    sidecar = Sidecar(to(KIND, {"loadBalancer": {"type": "RingHash"}, "hashPolicies": HASHES}))
    assert sidecar.routes(HTTP_OUT)[0]["route"]["hashPolicy"] == [
        {"header": {"headerName": "x-user"}, "terminal": True},
        {"cookie": {"name": "sid", "path": "/", "ttl": "3600s"}},
        {"queryParameter": {"name": "q"}},
        {"filterState": {"key": "k"}},
        {"connectionProperties": {"sourceIp": True}},
    ]
    assert sidecar.manager(TCP_OUT)["hashPolicy"] == [{"sourceIp": {}}]


def test_a_route_has_its_own() -> None:
    own = to(KIND, {"hashPolicies": HASHES[:1]}, {"kind": "MeshHTTPRoute", "name": "r"}, name="own")
    common = to(KIND, {"hashPolicies": HASHES[2:3]})
    sidecar = Sidecar(route("r", prefix("/x")), own, common)
    assert [next(iter(r["route"]["hashPolicy"][0])) for r in sidecar.routes(HTTP_OUT)] == [
        "header",
        "header",
        "queryParameter",
    ]


def test_the_older_place_of_hash_policies() -> None:
    balancer = {"type": "Maglev", "maglev": {"hashPolicies": HASHES[:1]}}
    sidecar = Sidecar(to(KIND, {"loadBalancer": balancer}))
    assert "header" in sidecar.routes(HTTP_OUT)[0]["route"]["hashPolicy"][0]


def test_weights_of_localities_are_switched_on_with_affinity() -> None:
    conf = {"localityAwareness": {"localZone": {"affinityTags": [{"key": "rack"}]}}}
    assert Sidecar(to(KIND, conf)).cluster(HTTP_CLUSTER)["commonLbConfig"] == {"localityWeightedLbConfig": {}}


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    balancer = {"type": "RingHash", "ringHash": {"hashFunction": "XXHash"}}
    Sidecar(to(KIND, {"loadBalancer": balancer, "hashPolicies": HASHES})).validate(tmp_path)


def test_the_smallest_ring_is_at_most_the_largest() -> None:
    rings = [{"minRingSize": 2048}, {"maxRingSize": 1024}]
    policies = [
        to(KIND, {"loadBalancer": {"type": "RingHash", "ringHash": ring}}, name=name)
        for name, ring in zip("ab", rings, strict=True)
    ]
    found = Sidecar(*policies).cluster(HTTP_CLUSTER)["ringHashLbConfig"]
    assert found == {"minimumRingSize": "1024", "maximumRingSize": "1024"}
