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
    assert tcp == {"send": {"text": "5a6d3976"}, "receive": [{"text": "596d4679"}]}


def test_requests_tell_who_asks_and_carry_each_value_of_a_header() -> None:
    conf = {"http": {"requestHeadersToAdd": {"set": [{"name": "x-a", "value": "1,2"}]}}}
    assert checked(conf, HTTP_CLUSTER)["httpHealthCheck"]["requestHeadersToAdd"] == [
        {
            "header": {
                "key": "x-kuma-tags",
                "value": "&kuma.io/protocol=http&&kuma.io/service=web,web-db&&team=a&",
            }
        },
        {"header": {"key": "x-a", "value": "1"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"},
        {"header": {"key": "x-a", "value": "2"}, "appendAction": "OVERWRITE_IF_EXISTS_OR_ADD"},
    ]


def test_events_go_to_a_file() -> None:
    (logger,) = checked({"http": {}, "eventLogPath": "/tmp/log"}, HTTP_CLUSTER)["eventLogger"]
    assert logger["typedConfig"]["eventLogPath"] == "/tmp/log"


def test_defaults() -> None:
    assert checked({"grpc": {}}, GRPC_CLUSTER) == {
        "interval": "60s",
        "timeout": "15s",
        "unhealthyThreshold": 5,
        "healthyThreshold": 1,
        "grpcHealthCheck": {},
    }


def test_a_tcp_probe_takes_the_place_of_a_disabled_one() -> None:
    assert "tcpHealthCheck" in checked({"http": {"disabled": True}, "tcp": {}}, HTTP_CLUSTER)
    assert checked({"http": {"disabled": True}}, HTTP_CLUSTER) == {}


def test_nothing_takes_the_place_of_a_missing_one() -> None:
    assert checked({"tcp": {}}, HTTP_CLUSTER) == {}


def test_panic() -> None:
    found = Sidecar(to("MeshHealthCheck", CONF)).cluster(HTTP_CLUSTER)["commonLbConfig"]
    assert found == {
        "healthyPanicThreshold": {"value": 40.0},
        "zoneAwareLbConfig": {"failTrafficOnPanic": True},
    }


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    Sidecar(to("MeshHealthCheck", CONF)).validate(tmp_path)
