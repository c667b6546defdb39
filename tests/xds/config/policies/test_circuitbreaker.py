"""MeshCircuitBreaker: limits, and detectors that are enforced exactly if they are configured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.xds.config.policies.sidecar import HTTP_APP, HTTP_CLUSTER, Sidecar, rules, to

LIMITS = {"maxConnections": 1, "maxPendingRequests": 2, "maxRetries": 3, "maxRequests": 4}
DETECTION = {
    "interval": "5s",
    "baseEjectionTime": "30s",
    "maxEjectionPercent": 20,
    "splitExternalAndLocalErrors": True,
    "healthyPanicThreshold": "12.5",
    "detectors": {"totalFailures": {"consecutive": 10}, "successRate": {"standardDeviationFactor": "1.9"}},
}


def test_limits_are_added_to_the_thresholds() -> None:
    sidecar = Sidecar(to("MeshCircuitBreaker", {"connectionLimits": LIMITS}))
    (found,) = sidecar.cluster(HTTP_CLUSTER)["circuitBreakers"]["thresholds"]
    assert found == {"trackRemaining": True, **LIMITS}
    assert sidecar.cluster(HTTP_APP)["circuitBreakers"]["thresholds"] == [{"trackRemaining": True}]


def test_limits_of_the_application() -> None:
    sidecar = Sidecar(rules("MeshCircuitBreaker", {"connectionLimits": {"maxConnections": 9}}))
    assert sidecar.cluster(HTTP_APP)["circuitBreakers"]["thresholds"][0]["maxConnections"] == 9


def test_what_is_not_configured_is_not_enforced() -> None:
    cluster = Sidecar(to("MeshCircuitBreaker", {"outlierDetection": DETECTION})).cluster(HTTP_CLUSTER)
    found = cluster["outlierDetection"]
    assert found["consecutive5xx"] == 10
    assert found["successRateStdevFactor"] == 1900
    enforced = {key: value for key, value in found.items() if key.startswith("enforcing")}
    assert {key for key, value in enforced.items() if value == 100} == {
        "enforcingConsecutive5xx",
        "enforcingSuccessRate",
        "enforcingLocalOriginSuccessRate",
    }
    assert len(enforced) == 7
    assert cluster["commonLbConfig"]["healthyPanicThreshold"] == {"value": 12.5}


def test_a_detector_without_a_number_is_not_enforced() -> None:
    conf = {"outlierDetection": {"detectors": {"gatewayFailures": {}}}}
    found = Sidecar(to("MeshCircuitBreaker", conf)).cluster(HTTP_CLUSTER)["outlierDetection"]
    assert found["enforcingConsecutiveGatewayFailure"] == 0


def test_disabled_is_as_if_absent() -> None:
    conf = {"outlierDetection": DETECTION | {"disabled": True}}
    assert "outlierDetection" not in Sidecar(to("MeshCircuitBreaker", conf)).cluster(HTTP_CLUSTER)


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    conf = {"connectionLimits": LIMITS, "outlierDetection": DETECTION}
    Sidecar(to("MeshCircuitBreaker", conf), rules("MeshCircuitBreaker", conf, name="q")).validate(tmp_path)
