"""MeshTimeout: what a spec may say."""

from __future__ import annotations

import pytest

from tests.mesh.policy.kinds.faults import faults, to_faults

KIND = "MeshTimeout"
ON_ROUTE = "can't be specified when top-level TargetRef is referencing MeshHTTPRoute"
BY_IDENTITY = (
    "can't be specified when matches contain spiffeID "
    "because this field cannot be conditioned on source identity"
)


@pytest.mark.parametrize(
    "spec",
    [
        "{to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 0s, connectionTimeout: 1s}}]}",
        "{to: [{targetRef: {kind: MeshHTTPRoute, name: r}, default: {http: {requestTimeout: 1s}}}]}",
        "{from: [{targetRef: {kind: Mesh}, default: {http: {requestHeadersTimeout: 500ms}}}]}",
        "{rules: [{default: {connectionTimeout: 1s}}]}",
        """
        targetRef: {kind: Dataplane, labels: {app: x}, sectionName: http}
        rules:
          - matches: [{spiffeID: {type: Prefix, value: spiffe://mesh/ns}}]
            default: {http: {requestTimeout: 1s, streamIdleTimeout: 2s}}
        """,
        """
        targetRef: {kind: MeshHTTPRoute, name: r}
        to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 1s, streamIdleTimeout: 1s}}}]
        """,
        """
        targetRef: {kind: MeshGateway, name: g}
        to: [{targetRef: {kind: MeshExternalService, name: x}, default: {idleTimeout: 1s}}]
        """,
    ],
)
def test_valid(spec: str) -> None:
    assert faults(KIND, spec) == []


@pytest.mark.parametrize(
    ("spec", "field", "reason"),
    [
        ("{}", "spec", "at least one of 'from', 'to' or 'rules' has to be defined"),
        (
            "{to: [{targetRef: {kind: MeshServiceSubset, name: x}, default: {idleTimeout: 1s}}]}",
            "spec.to[0].targetRef.kind",
            "value 'MeshServiceSubset' is not supported",
        ),
        (
            "{from: [{targetRef: {kind: MeshService, name: x}, default: {idleTimeout: 1s}}]}",
            "spec.from[0].targetRef.kind",
            "value 'MeshService' is not supported",
        ),
        (
            """
            targetRef: {kind: Dataplane, sectionName: http}
            to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]
            """,
            "spec.targetRef.sectionName",
            "can only be used with inbound policies",
        ),
        (
            """
            targetRef: {kind: MeshGateway, name: g}
            from: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]
            """,
            "spec.from",
            "must not be defined",
        ),
        (
            """
            targetRef: {kind: MeshGateway, name: g}
            to: [{targetRef: {kind: MeshService, name: x}, default: {idleTimeout: 1s}}]
            """,
            "spec.to[0].targetRef.kind",
            "value 'MeshService' is not supported",
        ),
        (
            """
            to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]
            rules: [{default: {idleTimeout: 1s}}]
            """,
            "spec",
            "fields 'to' and 'from' must be empty when 'rules' is defined",
        ),
        ("{rules: [{}]}", "spec.rules[0].default", "at least one timeout should be configured"),
        (
            "{rules: [{matches: [{}], default: {idleTimeout: 1s}}]}",
            "spec.rules[0].matches[0]",
            "must specify at least one of 'spiffeID' or 'sni'",
        ),
    ],
)
def test_invalid(spec: str, field: str, reason: str) -> None:
    assert faults(KIND, spec) == [(field, reason)]


@pytest.mark.parametrize(
    ("default", "field", "reason"),
    [
        ("{}", "default", "at least one timeout should be configured"),
        ("{idleTimeout: -1s}", "default.idleTimeout", "must not be negative when defined"),
        ("{connectionTimeout: 0s}", "default.connectionTimeout", "must be greater than zero when defined"),
        (
            "{http: {requestTimeout: -1s}}",
            "default.http.requestTimeout",
            "must not be negative when defined",
        ),
        ("{http: {}}", "default.http", "at least one timeout in this section should be configured"),
    ],
)
def test_invalid_confs(default: str, field: str, reason: str) -> None:
    assert to_faults(KIND, default) == [(field, reason)]


def test_a_policy_for_a_route_sets_only_timeouts_of_requests() -> None:
    http = "{requestTimeout: 1s, maxStreamDuration: 1s, maxConnectionDuration: 1s}"
    found = to_faults(
        KIND,
        f"{{connectionTimeout: 1s, idleTimeout: 1s, http: {http}}}",
        top="{kind: MeshHTTPRoute, name: r}",
    )
    names = ("connectionTimeout", "idleTimeout", "http.maxStreamDuration", "http.maxConnectionDuration")
    assert found == [(f"default.{name}", ON_ROUTE) for name in names]


def test_timeouts_of_connections_do_not_depend_on_the_client() -> None:
    spec = """
    rules:
      - matches: [{spiffeID: {type: Exact, value: spiffe://mesh/a}}]
        default: {connectionTimeout: 1s, http: {requestHeadersTimeout: 1s, maxStreamDuration: 1s}}
    """
    names = ("connectionTimeout", "http.maxStreamDuration", "http.requestHeadersTimeout")
    assert faults(KIND, spec) == [(f"spec.rules[0].default.{name}", BY_IDENTITY) for name in names]


def test_only_operators_select_gateways_and_routes() -> None:
    spec = "{targetRef: {kind: MeshGateway, name: g}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 1s}}]}"
    assert faults(KIND, spec) == []
    assert faults(KIND, spec, policy_role="consumer") == [
        ("spec.targetRef.kind", "value 'MeshGateway' is not supported")
    ]


def test_all_faults_are_reported_at_once() -> None:
    spec = """
    targetRef: {kind: Mesh, name: m}
    to:
      - {targetRef: {kind: MeshSubset}, default: {idleTimeout: -1s}}
      - {targetRef: {kind: Mesh}, default: {}}
    """
    assert len(faults(KIND, spec)) == 4
