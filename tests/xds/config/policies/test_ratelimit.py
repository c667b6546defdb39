"""MeshRateLimit: requests where there are requests, connections everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xds.config.policies.sidecar import HTTP_IN, TCP_IN, Sidecar, rules

HTTP = {
    "requestRate": {"num": 5, "interval": "10s"},
    "onRateLimit": {
        "status": 423,
        "headers": {"set": [{"name": "x-a", "value": "1"}], "add": [{"name": "x-b", "value": "2"}]},
    },
}
CONF = {"local": {"http": HTTP, "tcp": {"connectionRate": {"num": 7, "interval": "1s"}}}}
FILTER = "envoy.filters.http.local_ratelimit"


def test_requests() -> None:
    sidecar = Sidecar(rules("MeshRateLimit", CONF))
    assert sidecar.filters(HTTP_IN) == ["rbac", "local_ratelimit", "router"]
    found = sidecar.routes(HTTP_IN)[0]["typedPerFilterConfig"][FILTER]
    assert found["tokenBucket"] == {"maxTokens": 5, "tokensPerFill": 5, "fillInterval": "10s"}
    assert found["status"] == {"code": "Locked"}
    assert [(h["header"]["value"], h.get("appendAction")) for h in found["responseHeadersToAdd"]] == [
        ("2", None),
        ("1", "OVERWRITE_IF_EXISTS_OR_ADD"),
    ]


def test_connections() -> None:
    sidecar = Sidecar(rules("MeshRateLimit", CONF))
    assert sidecar.filters(TCP_IN) == ["rbac", "LocalRateLimit", "tcp_proxy"]
    network = [found["name"] for found in sidecar.listener(HTTP_IN)["filterChains"][0]["filters"]]
    assert network.count("envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit") == 1


def test_envoy_chooses_the_status_unless_the_policy_does() -> None:
    conf = {"local": {"http": {"requestRate": HTTP["requestRate"]}}}
    found = Sidecar(rules("MeshRateLimit", conf)).routes(HTTP_IN)[0]["typedPerFilterConfig"][FILTER]
    assert not {"status", "responseHeadersToAdd"} & found.keys()


@pytest.mark.parametrize("conf", [{"http": HTTP | {"disabled": True}}, {"tcp": {"disabled": True}}, {}])
def test_disabled(conf: dict[str, object]) -> None:
    sidecar = Sidecar(rules("MeshRateLimit", {"local": conf}))
    found = sidecar.filters(HTTP_IN) + sidecar.filters(TCP_IN)
    assert not {"local_ratelimit", "LocalRateLimit"} & set(found)


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    Sidecar(rules("MeshRateLimit", CONF)).validate(tmp_path)


@pytest.mark.parametrize(("status", "expected"), [(423, {"code": "Locked"}), (430, None), (99, None)])
def test_a_status_that_envoy_does_not_know_is_429(status: int, expected: dict[str, str] | None) -> None:
    limits = {"requestRate": {"num": 5, "interval": "1s"}, "onRateLimit": {"status": status}}
    (route,) = Sidecar(rules("MeshRateLimit", {"local": {"http": limits}})).routes(HTTP_IN)
    (found,) = route["typedPerFilterConfig"].values()
    assert found.get("status") == expected
