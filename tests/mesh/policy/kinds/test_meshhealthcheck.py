"""MeshHealthCheck: what a spec may say."""

from __future__ import annotations

import pytest

from tests.mesh.policy.kinds.faults import faults, to_faults

KIND = "MeshHealthCheck"
POSITIVE = "must be greater than zero when defined"


@pytest.mark.parametrize(
    "default",
    [
        "{tcp: {}}",
        "{http: {disabled: true}, tcp: {send: Zm9v, receive: [YmFy]}}",
        "{interval: 10s, timeout: 2s, unhealthyThreshold: 3, healthyThreshold: 1, http: {path: /health}}",
        "{grpc: {serviceName: a, authority: b}, eventLogPath: /tmp/log, healthyPanicThreshold: '62.9'}",
    ],
)
def test_valid(default: str) -> None:
    assert to_faults(KIND, default) == []


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("unhealthyThreshold", "0", POSITIVE),
        ("healthyThreshold", "0", POSITIVE),
        ("interval", "0s", POSITIVE),
        ("timeout", "-1s", POSITIVE),
        ("initialJitter", "0s", POSITIVE),
        ("intervalJitter", "0s", POSITIVE),
        ("noTrafficInterval", "0s", POSITIVE),
        ("intervalJitterPercent", "110", "must be in inclusive range [0, 100]"),
        ("healthyPanicThreshold", "101", "must be in inclusive range [0.0, 100.0]"),
        ("healthyPanicThreshold", "x", "string must be a valid number"),
        ("eventLogPath", "log", "must be a valid path when defined"),
    ],
)
def test_invalid(field: str, value: str, reason: str) -> None:
    assert to_faults(KIND, f"{{{field}: {value}, tcp: {{}}}}") == [(f"default.{field}", reason)]


def test_statuses() -> None:
    assert to_faults(KIND, "{http: {expectedStatuses: [200, 99]}}") == [
        ("default.http.expectedStatuses[1]", "must be in inclusive range [100, 599]")
    ]


def test_a_protocol_is_needed() -> None:
    assert to_faults(KIND, "{}") == [("default", "must have at least one defined: http, tcp, grpc")]


def test_routes_are_no_destination() -> None:
    assert to_faults(KIND, "{tcp: {}}", "{kind: MeshHTTPRoute, name: r}") == [
        ("targetRef.kind", "value 'MeshHTTPRoute' is not supported")
    ]
    assert faults(KIND, "{targetRef: {kind: MeshHTTPRoute, name: r}}") == [
        ("spec.targetRef.kind", "value 'MeshHTTPRoute' is not supported")
    ]
