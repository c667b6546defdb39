"""MeshRateLimit: requests where there are requests, connections otherwise."""

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
    assert [h.get("appendAction") for h in found["responseHeadersToAdd"]] == [
        "OVERWRITE_IF_EXISTS_OR_ADD",
        None,
    ]


def test_connections() -> None:
    sidecar = Sidecar(rules("MeshRateLimit", CONF))
    assert sidecar.filters(TCP_IN) == ["rbac", "local_ratelimit", "tcp_proxy"]
    assert sidecar.filters(HTTP_IN).count("local_ratelimit") == 1


@pytest.mark.parametrize("conf", [{"http": HTTP | {"disabled": True}}, {"tcp": {"disabled": True}}, {}])
def test_disabled(conf: dict[str, object]) -> None:
    sidecar = Sidecar(rules("MeshRateLimit", {"local": conf}))
    assert "local_ratelimit" not in sidecar.filters(HTTP_IN) + sidecar.filters(TCP_IN)


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    Sidecar(rules("MeshRateLimit", CONF)).validate(tmp_path)
