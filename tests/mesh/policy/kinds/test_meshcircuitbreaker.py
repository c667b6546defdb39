"""MeshCircuitBreaker: what a spec may say."""

from __future__ import annotations

import pytest

from tests.mesh.policy.kinds.faults import faults, to_faults

KIND = "MeshCircuitBreaker"
LIMITS = "{connectionLimits: {maxConnections: 1}}"
POSITIVE, PERCENT = "must be greater than 0", "must be in inclusive range [0, 100]"


@pytest.mark.parametrize(
    "default",
    [
        LIMITS,
        "{outlierDetection: {disabled: true}}",
        "{outlierDetection: {interval: 1s, detectors: {totalFailures: {consecutive: 1}}}}",
        "{outlierDetection: {healthyPanicThreshold: '61.9', detectors: {successRate: {}}}}",
        "{outlierDetection: {detectors: {successRate: {standardDeviationFactor: '1.9'}}}}",
        "{outlierDetection: {maxEjectionPercent: 0, detectors: {failurePercentage: {threshold: 100}}}}",
    ],
)
def test_valid(default: str) -> None:
    assert to_faults(KIND, default) == []


LIMIT_NAMES = ("maxConnections", "maxConnectionPools", "maxPendingRequests", "maxRetries", "maxRequests")


@pytest.mark.parametrize("name", LIMIT_NAMES)
def test_limits_are_positive(name: str) -> None:
    found = to_faults(KIND, f"{{connectionLimits: {{{name}: 0}}}}")
    assert found == [(f"default.connectionLimits.{name}", POSITIVE)]


@pytest.mark.parametrize(
    ("outliers", "field", "reason"),
    [
        ("{}", "detectors", "must be defined"),
        (
            "{detectors: {}}",
            "detectors",
            "must have at least one defined: totalFailures, gatewayFailures, localOriginFailures, "
            "successRate, failurePercentage",
        ),
        ("{disabled: true, interval: 0s}", "interval", "must be greater than zero when defined"),
        (
            "{disabled: true, baseEjectionTime: -1s}",
            "baseEjectionTime",
            "must be greater than zero when defined",
        ),
        ("{disabled: true, maxEjectionPercent: 101}", "maxEjectionPercent", PERCENT),
        (
            "{disabled: true, healthyPanicThreshold: 101}",
            "healthyPanicThreshold",
            "must be in inclusive range [0.0, 100.0]",
        ),
        ("{detectors: {totalFailures: {consecutive: 0}}}", "detectors.totalFailures.consecutive", POSITIVE),
        (
            "{detectors: {gatewayFailures: {consecutive: 0}}}",
            "detectors.gatewayFailures.consecutive",
            POSITIVE,
        ),
        (
            "{detectors: {localOriginFailures: {consecutive: 0}}}",
            "detectors.localOriginFailures.consecutive",
            POSITIVE,
        ),
        ("{detectors: {successRate: {minimumHosts: 0}}}", "detectors.successRate.minimumHosts", POSITIVE),
        ("{detectors: {successRate: {requestVolume: 0}}}", "detectors.successRate.requestVolume", POSITIVE),
        (
            "{detectors: {successRate: {standardDeviationFactor: 0}}}",
            "detectors.successRate.standardDeviationFactor",
            POSITIVE,
        ),
        (
            "{detectors: {successRate: {standardDeviationFactor: x}}}",
            "detectors.successRate.standardDeviationFactor",
            "invalid number",
        ),
        (
            "{detectors: {failurePercentage: {minimumHosts: 0}}}",
            "detectors.failurePercentage.minimumHosts",
            POSITIVE,
        ),
        (
            "{detectors: {failurePercentage: {requestVolume: 0}}}",
            "detectors.failurePercentage.requestVolume",
            POSITIVE,
        ),
        (
            "{detectors: {failurePercentage: {threshold: 101}}}",
            "detectors.failurePercentage.threshold",
            PERCENT,
        ),
    ],
)
def test_invalid_detection(outliers: str, field: str, reason: str) -> None:
    found = to_faults(KIND, f"{{outlierDetection: {outliers}}}")
    assert found == [(f"default.outlierDetection.{field}", reason)]


def test_an_empty_conf_says_nothing() -> None:
    text = "at least one of: 'connectionLimits' or 'outlierDetection' should be configured"
    assert to_faults(KIND, "{}") == [("default", text)]
    assert faults(KIND, "{rules: [{}]}") == [("spec.rules[0].default", text)]


def test_lists() -> None:
    assert faults(KIND, "{}") == [("spec", "at least one of 'from', 'to' or 'rules' has to be defined")]
    both = f"{{rules: [{{default: {LIMITS}}}], from: [{{targetRef: {{kind: Mesh}}, default: {LIMITS}}}]}}"
    assert faults(KIND, both) == [("spec", "fields 'to' and 'from' must be empty when 'rules' is defined")]
    gateway = f"{{targetRef: {{kind: MeshGateway, name: g}}, from: [{{targetRef: {{kind: Mesh}}, default: {LIMITS}}}]}}"
    assert faults(KIND, gateway) == [("spec.from", "must not be defined")]
