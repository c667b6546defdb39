"""MeshRateLimit, MeshFaultInjection, MeshTrafficPermission, MeshTLS: what their specs may say."""

from __future__ import annotations

import pytest

from tests.mesh.policy.kinds.faults import faults

SIDECARS = "targetRef: {kind: Mesh, proxyTypes: [Sidecar]}"
GATEWAYS = "targetRef: {kind: Mesh, proxyTypes: [Gateway]}"
MESH = "targetRef: {kind: Mesh}"
WITH_GATEWAYS = (
    "must not be defined when the scope includes a Gateway, select only proxyType Sidecar "
    "or select only gateways and use spec.to"
)
RATE = "{local: {http: {requestRate: {num: 5, interval: 10s}}}}"
ABORT = "{http: [{abort: {httpStatus: 500, percentage: '2.5'}}]}"


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("MeshRateLimit", f"{{{SIDECARS}, from: [{{{MESH}, default: {RATE}}}]}}"),
        ("MeshRateLimit", f"{{rules: [{{default: {RATE}}}]}}"),
        ("MeshRateLimit", f"{{{GATEWAYS}, to: [{{{MESH}, default: {RATE}}}]}}"),
        ("MeshRateLimit", "{rules: [{default: {local: {tcp: {disabled: true}}}}]}"),
        (
            "MeshFaultInjection",
            f"{{{SIDECARS}, from: [{{targetRef: {{kind: MeshSubset}}, default: {ABORT}}}]}}",
        ),
        ("MeshFaultInjection", f"{{rules: [{{default: {ABORT}}}]}}"),
        ("MeshFaultInjection", "{rules: [{default: {http: [{delay: {value: 0s, percentage: 100}}]}}]}"),
        (
            "MeshFaultInjection",
            "{rules: [{default: {http: [{responseBandwidth: {limit: 50 Mbps, percentage: 1}}]}}]}",
        ),
        ("MeshTrafficPermission", f"{{from: [{{{MESH}, default: {{action: Allow}}}}]}}"),
        (
            "MeshTrafficPermission",
            "{rules: [{default: {allow: [{spiffeID: {type: Prefix, value: spiffe://mesh/}}]}}]}",
        ),
        ("MeshTLS", f"{{from: [{{{MESH}, default: {{mode: Strict}}}}]}}"),
        (
            "MeshTLS",
            "{rules: [{default: {tlsVersion: {min: TLS12, max: TLS13}, "
            "tlsCiphers: [ECDHE-RSA-AES128-GCM-SHA256]}}]}",
        ),
        (
            "MeshTLS",
            "{targetRef: {kind: Dataplane, sectionName: http}, rules: [{default: {mode: Permissive}}]}",
        ),
    ],
)
def test_valid(kind: str, spec: str) -> None:
    assert faults(kind, spec) == []


@pytest.mark.parametrize(
    ("kind", "spec", "field", "reason"),
    [
        ("MeshRateLimit", f"{{{MESH}, from: [{{{MESH}, default: {RATE}}}]}}", "from", WITH_GATEWAYS),
        ("MeshRateLimit", f"{{{SIDECARS}, to: [{{{MESH}, default: {RATE}}}]}}", "to", "must not be defined"),
        ("MeshRateLimit", f"{{{GATEWAYS}, rules: [{{default: {RATE}}}]}}", "rules", "must not be defined"),
        (
            "MeshRateLimit",
            f"{{{SIDECARS}, from: [{{targetRef: {{kind: MeshService, name: s}}, default: {RATE}}}]}}",
            "from[0].targetRef.kind",
            "value 'MeshService' is not supported",
        ),
        ("MeshFaultInjection", f"{{{MESH}, from: [{{{MESH}, default: {ABORT}}}]}}", "from", WITH_GATEWAYS),
        (
            "MeshFaultInjection",
            f"{{{SIDECARS}, to: [{{{MESH}, default: {ABORT}}}]}}",
            "to",
            "must not be defined",
        ),
        (
            "MeshFaultInjection",
            f"{{{GATEWAYS}, to: [{{targetRef: {{kind: MeshService, name: s}}, default: {ABORT}}}]}}",
            "to[0].targetRef.kind",
            "value 'MeshService' is not supported",
        ),
        (
            "MeshFaultInjection",
            f"{{rules: [{{matches: [{{spiffeID: {{type: Exact, value: x}}}}], default: {ABORT}}}]}}",
            "rules[0].matches[0].spiffeID",
            "must be a valid Spiffe ID: scheme is missing or invalid",
        ),
        (
            "MeshTrafficPermission",
            f"{{from: [{{{MESH}, default: {{}}}}]}}",
            "from[0].default.action",
            "must be defined",
        ),
        (
            "MeshTrafficPermission",
            "{rules: [{default: {}}]}",
            "rules[0]",
            "at least one of 'allow', 'allowWithShadowDeny', 'deny' has to be defined",
        ),
        (
            "MeshTrafficPermission",
            "{rules: [{default: {deny: [{spiffeID: {type: Exact, value: x}}]}}]}",
            "rules[0].deny[0].spiffeID",
            "must be a valid Spiffe ID: scheme is missing or invalid",
        ),
        (
            "MeshTrafficPermission",
            "{rules: [{default: {allow: [{sni: {type: Exact, value: ''}}]}}]}",
            "rules[0].allow[0].sni.value",
            "must be set",
        ),
        (
            "MeshTrafficPermission",
            f"{{targetRef: {{kind: MeshGateway, name: g}}, from: [{{{MESH}, default: {{action: Deny}}}}]}}",
            "targetRef.kind",
            "value 'MeshGateway' is not supported",
        ),
        (
            "MeshTLS",
            "{rules: [{default: {tlsVersion: {min: TLS13, max: TLS12}}}]}",
            "rules[0].default.tlsVersion",
            "min version must be lower than max. Min: TLS13, max: TLS12",
        ),
        (
            "MeshTLS",
            f"{{targetRef: {{kind: MeshService, name: s}}, from: [{{{MESH}, default: {{mode: Strict}}}}]}}",
            "targetRef.kind",
            "value 'MeshService' is not supported",
        ),
    ],
)
def test_invalid(kind: str, spec: str, field: str, reason: str) -> None:
    assert faults(kind, spec) == [(f"spec.{field}", reason)]


@pytest.mark.parametrize("kind", ["MeshRateLimit", "MeshFaultInjection", "MeshTrafficPermission", "MeshTLS"])
def test_empty_policies(kind: str) -> None:
    names = (
        "'from', 'to' or 'rules'" if kind in ("MeshRateLimit", "MeshFaultInjection") else "'from' or 'rules'"
    )
    assert faults(kind, "{}") == [("spec", f"at least one of {names} has to be defined")]


@pytest.mark.parametrize(
    ("local", "field", "reason"),
    [
        ("{}", "local", "must have at least one defined: tcp, http"),
        ("{tcp: {}}", "local.tcp", "must have at least one defined: disabled, connectionRate"),
        ("{http: {}}", "local.http", "must have at least one defined: disabled, requestRate, onRateLimit"),
        (
            "{http: {requestRate: {num: 0, interval: 1s}}}",
            "local.http.requestRate.num",
            "must be greater than 0",
        ),
        (
            "{http: {requestRate: {num: 1, interval: 50ms}}}",
            "local.http.requestRate.interval",
            "must be greater than: 50ms",
        ),
        (
            "{tcp: {connectionRate: {num: 0, interval: 1s}}}",
            "local.tcp.connectionRate.num",
            "must be greater than 0",
        ),
        (
            "{tcp: {connectionRate: {num: 1, interval: 1ms}}}",
            "local.tcp.connectionRate.interval",
            "must be greater than: 50ms",
        ),
    ],
)
def test_rates(local: str, field: str, reason: str) -> None:
    found = faults("MeshRateLimit", f"{{rules: [{{default: {{local: {local}}}}}]}}")
    assert found == [(f"spec.rules[0].default.{field}", reason)]


def test_a_rate_limit_without_local_limits_nothing() -> None:
    assert faults("MeshRateLimit", "{rules: [{}]}") == [("spec.rules[0].default.local", "must be defined")]


def test_connections_are_not_limited_by_client() -> None:
    spec = """
    rules:
      - matches: [{spiffeID: {type: Exact, value: spiffe://mesh/a}}]
        default: {local: {tcp: {disabled: true}}}
    """
    ((field, reason),) = faults("MeshRateLimit", spec)
    assert field == "spec.rules[0].default.local.tcp"
    assert reason.startswith("can't be specified when matches contain spiffeID")


PERCENT = "must be in inclusive range [0.0, 100.0]"


@pytest.mark.parametrize(
    ("fault", "field", "reason"),
    [
        (
            "abort: {httpStatus: 99, percentage: 1}",
            "abort[0].httpStatus",
            "must be in inclusive range [100, 599]",
        ),
        ("abort: {httpStatus: 500, percentage: 101}", "abort[0].percentage", PERCENT),
        ("delay: {value: -1s, percentage: 1}", "delay[0].value", "must not be negative when defined"),
        ("delay: {value: 1s, percentage: -1}", "delay[0].percentage", PERCENT),
        (
            "responseBandwidth: {limit: 10000, percentage: 1}",
            "responseBandwidth[0].limit",
            "must be in kbps/Mbps/Gbps units",
        ),
        (
            "responseBandwidth: {limit: 1kbps, percentage: x}",
            "responseBandwidth[0].percentage",
            "string must be a valid number",
        ),
    ],
)
def test_faults(fault: str, field: str, reason: str) -> None:
    fault = fault.replace("limit: 10000", "limit: '10000'")
    found = faults("MeshFaultInjection", f"{{rules: [{{default: {{http: [{{{fault}}}]}}}}]}}")
    assert found == [(f"spec.rules[0].default.http.{field}", reason)]


def test_ciphers() -> None:
    ((field, reason),) = faults("MeshTLS", "{rules: [{default: {tlsCiphers: [RC4]}}]}")
    assert field == "spec.rules[0].default.tlsCiphers[0]"
    assert reason.startswith('tls cipher must be one of ["ECDHE-ECDSA-AES128-GCM-SHA256", ')
