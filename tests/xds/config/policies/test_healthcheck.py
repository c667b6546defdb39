"""MeshHealthCheck: the probe that fits the protocol, or a TCP probe in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import HTTP_CLUSTER, TCP_CLUSTER, Sidecar, to

CONF = {
    "interval": "10s",
    "timeout": "2s",
    "unhealthyThreshold": 3,
    "healthyThreshold": 2,
    "initialJitter": "5s",
    "intervalJitterPercent": 10,
    "healthyPanicThreshold": 40,
    "failTrafficOnPanic": True,
    "noTrafficInterval": "30s",
    "reuseConnection": False,
    "alwaysLogHealthCheckFailures": True,
    "http": {
        "path": "/health",
        "expectedStatuses": [200, 204],
        "requestHeadersToAdd": {
            "set": [{"name": "x-a", "value": "1"}],
            "add": [{"name": "x-b", "value": "2"}],
        },
    },
    "grpc": {"serviceName": "svc", "authority": "auth"},
    "tcp": {"send": "Zm9v", "receive": ["YmFy"]},
}
GRPC_CLUSTER = "default_rpc___msvc_9000"


def checked(conf: dict[str, Any], cluster: str) -> dict[str, Any]:
    found = Sidecar(to("MeshHealthCheck", conf)).cluster(cluster).get("healthChecks", [{}])
    assert len(found) == 1
    result: dict[str, Any] = found[0]
    return result


def test_each_protocol_has_its_probe() -> None:
    http = checked(CONF, HTTP_CLUSTER)["httpHealthCheck"]
    assert http["path"] == "/health"
    assert http["expectedStatuses"] == [{"start": "200", "end": "201"}, {"start": "204", "end": "205"}]
    assert checked(CONF, GRPC_CLUSTER)["grpcHealthCheck"] == {"serviceName": "svc", "authority": "auth"}
    tcp = checked(CONF, TCP_CLUSTER)["tcpHealthCheck"]
    assert tcp == {"send": {"text": "666f6f"}, "receive": [{"text": "626172"}]}


def test_defaults() -> None:
    assert checked({"http": {}}, HTTP_CLUSTER) == {
        "interval": "60s",
        "timeout": "15s",
        "unhealthyThreshold": 5,
        "healthyThreshold": 1,
        "httpHealthCheck": {"path": "/"},
    }


def test_a_tcp_probe_takes_the_place_of_a_disabled_one() -> None:
    assert "tcpHealthCheck" in checked({"http": {"disabled": True}, "tcp": {}}, HTTP_CLUSTER)
    assert checked({"http": {"disabled": True}}, HTTP_CLUSTER) == {}


def test_panic() -> None:
    found = Sidecar(to("MeshHealthCheck", CONF)).cluster(HTTP_CLUSTER)["commonLbConfig"]
    assert found == {
        "healthyPanicThreshold": {"value": 40.0},
        "zoneAwareLbConfig": {"failTrafficOnPanic": True},
    }


def test_what_is_no_base64_breaks_this_cluster_only() -> None:
    sidecar = Sidecar(to("MeshHealthCheck", {"tcp": {"send": "%%"}}, {"kind": "MeshService", "name": "db"}))
    (reason,) = sidecar.failures.values()
    assert "'%%' is no base64" in reason
    assert sidecar.cluster(HTTP_CLUSTER)


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    Sidecar(to("MeshHealthCheck", CONF)).validate(tmp_path)
