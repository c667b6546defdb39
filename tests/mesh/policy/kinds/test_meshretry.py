"""MeshRetry: what a spec may say."""

from __future__ import annotations

import pytest

from tests.mesh.policy.kinds.faults import to_faults

KIND = "MeshRetry"


@pytest.mark.parametrize(
    "default",
    [
        "{tcp: {maxConnectAttempt: 5}}",
        "{http: {numRetries: 0}}",
        "{http: {retryOn: [5xx, GatewayError, HttpMethodGet, '503', '599', '400']}}",
        "{grpc: {retryOn: [Canceled, DeadlineExceeded], backOff: {baseInterval: 1s}}}",
        "{http: {rateLimitedBackOff: {resetHeaders: [{name: retry-after, format: Seconds}]}}}",
        "{http: {hostSelection: [{predicate: OmitPreviousHosts}, {predicate: OmitHostsWithTags, tags: {a: b}}]}}",
        "{http: {hostSelection: [{predicate: OmitPreviousPriorities, updateFrequency: 3}]}}",
    ],
)
def test_valid(default: str) -> None:
    assert to_faults(KIND, default) == []


@pytest.mark.parametrize(
    ("default", "field", "reason"),
    [
        ("{}", "", "at least one of the 'tcp', 'http', 'grpc' must be specified"),
        ("{tcp: {}}", ".tcp", "must not be empty"),
        ("{http: {}}", ".http", "must not be empty"),
        ("{grpc: {}}", ".grpc", "must not be empty"),
        ("{tcp: {maxConnectAttempt: 0}}", ".tcp.maxConnectAttempt", "must be greater than 0"),
        ("{http: {backOff: {}}}", ".http.backOff", "must not be empty"),
        ("{grpc: {backOff: {}}}", ".grpc.backOff", "must not be empty"),
        (
            "{http: {rateLimitedBackOff: {maxInterval: 1s}}}",
            ".http.rateLimitedBackOff.resetHeaders",
            "must be defined",
        ),
        (
            "{grpc: {rateLimitedBackOff: {}}}",
            ".grpc.rateLimitedBackOff.resetHeaders",
            "must be defined",
        ),
        ("{http: {retryOn: [5XX]}}", ".http.retryOn[0]", "unknown item '5XX'"),
        ("{http: {retryOn: [5xx, reset]}}", ".http.retryOn[1]", "unknown item 'reset'"),
        ("{http: {retryOn: ['123']}}", ".http.retryOn[0]", "unknown item '123'"),
        ("{http: {retryOn: ['952']}}", ".http.retryOn[0]", "unknown item '952'"),
        ("{grpc: {retryOn: ['500']}}", ".grpc.retryOn[0]", "unknown item '500'"),
        (
            "{http: {hostSelection: [{predicate: OmitHostsWithTags}]}}",
            ".http.hostSelection[0].tags",
            "must be defined",
        ),
        (
            "{http: {hostSelection: [{predicate: OmitPreviousPriorities, updateFrequency: 0}]}}",
            ".http.hostSelection[0].updateFrequency",
            "must be defined and greater than zero",
        ),
        (
            "{http: {hostSelection: [{predicate: OmitPreviousPriorities}, {predicate: OmitPreviousPriorities}]}}",
            ".http.hostSelection[1].predicate",
            "OmitPreviousPriorities must only be specified once",
        ),
        ("{http: {perTryTimeout: 0s}}", ".http.perTryTimeout", "must be greater than zero when defined"),
    ],
)
def test_invalid(default: str, field: str, reason: str) -> None:
    assert to_faults(KIND, default) == [(f"default.conf{field}", reason)]


@pytest.mark.parametrize("kind", ["MeshSubset", "MeshServiceSubset"])
def test_destinations(kind: str) -> None:
    found = to_faults(KIND, "{tcp: {maxConnectAttempt: 1}}", f"{{kind: {kind}, name: x}}")
    assert found == [("targetRef.kind", f"value '{kind}' is not supported")]


def test_destinations_of_gateways_and_routes() -> None:
    for top in ("{kind: MeshGateway, name: g}", "{kind: MeshHTTPRoute, name: r}"):
        found = to_faults(KIND, "{tcp: {maxConnectAttempt: 1}}", "{kind: MeshService, name: s}", top)
        assert found == [("targetRef.kind", "value 'MeshService' is not supported")]
        assert to_faults(KIND, "{tcp: {maxConnectAttempt: 1}}", top=top) == []
