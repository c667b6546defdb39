"""Checks that all policies share: targetRefs by kind, tags, identities, lists."""

from __future__ import annotations

import pytest

from mesh.errors import FieldError
from mesh.kinds.policies import checks
from mesh.kinds.policies.common import OpenTelemetry, SNIMatch, SpiffeIDMatch, TargetRef

ALL = (*checks.SYSTEM_TOP, "MeshExternalService", "MeshMultiZoneService", "MeshHTTPRoute")


def _faults(ref: TargetRef, *supported: str, inbound: bool = False) -> list[tuple[str, str]]:
    found = checks.target_ref(ref, "targetRef", supported or ALL, inbound=inbound)
    return [(error.field, error.reason) for error in found]


@pytest.mark.parametrize(
    "ref",
    [
        TargetRef(kind="Mesh"),
        TargetRef(kind="Mesh", proxy_types=("Gateway",)),
        TargetRef(kind="Dataplane", labels={"app": "x"}),
        TargetRef(kind="Dataplane", name="x", namespace="y"),
        TargetRef(kind="MeshSubset", tags={"kuma.io/zone": "*"}),
        TargetRef(kind="MeshService", name="db_1"),
        TargetRef(kind="MeshService", labels={"app": "x"}, section_name="http"),
        TargetRef(kind="MeshServiceSubset", name="db", tags={"v": "1"}),
        TargetRef(kind="MeshGateway", name="edge", tags={"listener": "a"}),
        TargetRef(kind="MeshHTTPRoute", name="r"),
        TargetRef(kind="MeshExternalService", name="x"),
        TargetRef(kind="MeshMultiZoneService", name="x", section_name="80"),
    ],
)
def test_valid_target_refs(ref: TargetRef) -> None:
    assert _faults(ref) == []


INVALID_NAME = "invalid characters: must consist of lower case alphanumeric characters, '-', '.' and '_'."
TAG_NAME = "tag name must consist of alphanumeric characters, dots, dashes, slashes and underscores"
TAG_VALUE = "tag value must consist of alphanumeric characters, dots, dashes and underscores"


@pytest.mark.parametrize(
    ("ref", "faults"),
    [
        (TargetRef(kind="Mesh", mesh="m"), [("targetRef.mesh", "must not be set with kind Mesh")]),
        (TargetRef(kind="Mesh", tags={"a": "b"}), [("targetRef.tags", "must not be set with kind Mesh")]),
        (
            TargetRef(kind="Mesh", name="m"),
            [("targetRef.name", "using name with kind Mesh is not yet supported")],
        ),
        (TargetRef(kind="Mesh", labels={"a": "b"}), [("targetRef.labels", "must not be set with kind Mesh")]),
        (TargetRef(kind="Mesh", namespace="n"), [("targetRef.namespace", "must not be set with kind Mesh")]),
        (
            TargetRef(kind="Mesh", section_name="s"),
            [("targetRef.sectionName", "must not be set with kind Mesh")],
        ),
        (
            TargetRef(kind="Mesh", proxy_types=()),
            [("targetRef.proxyTypes", "must be undefined or have at least one element")],
        ),
        (
            TargetRef(kind="MeshSubset", name="x"),
            [("targetRef.name", "must not be set with kind MeshSubset")],
        ),
        (
            TargetRef(kind="MeshSubset", tags={"": "x"}),
            [("targetRef.tags", "tag name must be non-empty")],
        ),
        (
            TargetRef(kind="MeshSubset", tags={"invalidTag*": "x"}),
            [('targetRef.tags["invalidTag*"]', TAG_NAME)],
        ),
        (
            TargetRef(kind="MeshSubset", tags={"tag1": ""}),
            [('targetRef.tags["tag1"]', "tag value must be non-empty")],
        ),
        (TargetRef(kind="MeshSubset", tags={"tag1": "a*"}), [('targetRef.tags["tag1"]', TAG_VALUE)]),
        (
            TargetRef(kind="MeshService"),
            [("targetRef", "name or labels must be set when kind is MeshService")],
        ),
        (TargetRef(kind="MeshService", name="*"), [("targetRef.name", INVALID_NAME)]),
        (
            TargetRef(kind="MeshService", name="x", proxy_types=("Sidecar",)),
            [("targetRef.proxyTypes", "must not be set with kind MeshService")],
        ),
        (
            TargetRef(kind="MeshService", name="x", labels={"a": "b"}),
            [("targetRef.labels", "either labels or name must be specified")],
        ),
        (
            TargetRef(kind="MeshService", name="x", namespace="n", labels={"a": "b"}),
            [("targetRef.labels", "either labels or name and namespace must be specified")],
        ),
        (
            TargetRef(kind="MeshServiceSubset", tags={"a": "b"}),
            [("targetRef.name", "must be set when kind is MeshServiceSubset")],
        ),
        (
            TargetRef(kind="MeshGateway"),
            [("targetRef.name", "must be set when kind is MeshGateway")],
        ),
        (
            TargetRef(kind="MeshHTTPRoute"),
            [("targetRef", "name or labels must be set when kind is MeshHTTPRoute")],
        ),
        (
            TargetRef(kind="MeshHTTPRoute", name="r", section_name="s"),
            [("targetRef.sectionName", "must not be set with kind MeshHTTPRoute")],
        ),
        (
            TargetRef(kind="Dataplane", tags={"a": "b"}),
            [("targetRef.tags", "must not be set with kind Dataplane")],
        ),
        (
            TargetRef(kind="Dataplane", proxy_types=("Sidecar",)),
            [("targetRef.proxyTypes", "must not be set with kind Dataplane")],
        ),
        (
            TargetRef(kind="Dataplane", section_name="http"),
            [("targetRef.sectionName", "can only be used with inbound policies")],
        ),
        (
            TargetRef(kind="Dataplane", name="x", labels={"a": "b"}),
            [("targetRef.labels", "either labels or name and namespace must be specified")],
        ),
    ],
)
def test_invalid_target_refs(ref: TargetRef, faults: list[tuple[str, str]]) -> None:
    assert _faults(ref) == faults


def test_a_kind_that_is_not_supported_hides_other_faults() -> None:
    ref = TargetRef(kind="MeshService", tags={"": ""})
    assert _faults(ref, "Mesh") == [("targetRef.kind", "value 'MeshService' is not supported")]


def test_inbound_policies_may_select_one_inbound() -> None:
    assert _faults(TargetRef(kind="Dataplane", section_name="http"), inbound=True) == []


@pytest.mark.parametrize(
    ("value", "kind", "fault"),
    [
        ("spiffe://mesh.local/ns/a", "Exact", ""),
        ("spiffe://mesh.local", "Exact", ""),
        ("spiffe://mesh.local/", "Prefix", ""),
        ("spiffe://mesh.local/ns/", "Prefix", ""),
        ("", "Exact", "cannot be empty"),
        ("mesh.local/a", "Exact", "scheme is missing or invalid"),
        ("spiffe://", "Exact", "trust domain is missing"),
        ("spiffe://Mesh/a", "Exact", "trust domain characters are limited to"),
        ("spiffe://mesh/a/", "Exact", "path cannot have a trailing slash"),
        ("spiffe://mesh//a", "Exact", "path cannot contain empty segments"),
        ("spiffe://mesh/../a", "Exact", "path cannot contain dot segments"),
        ("spiffe://mesh/a b", "Exact", "path segment characters are limited to"),
    ],
)
def test_identities(value: str, kind: str, fault: str) -> None:
    match = SpiffeIDMatch(type=kind, value=value)  # type: ignore[arg-type]
    found = list(checks.identity(match, None, "m"))
    if not fault:
        assert found == []
    else:
        (error,) = found
        assert error.field == "m.spiffeID"
        assert error.reason.startswith(f"must be a valid Spiffe ID: {fault}")


def test_server_names() -> None:
    assert list(checks.identity(None, SNIMatch(type="Exact", value="a.example"), "m")) == []
    empty = list(checks.identity(None, SNIMatch(type="Exact", value=""), "m"))
    assert empty == [FieldError("m.sni.value", "must be set")]
    (bad,) = checks.identity(None, SNIMatch(type="Exact", value="A.example"), "m")
    assert bad.reason.startswith("a lowercase RFC 1123 subdomain must consist of")


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        ("otel:4317", ""),
        ("otel", ""),
        ("http://otel:4317", "must be in host:port format, not a URL"),
        ("otel:port", "must be in host:port format"),
        (":4317", "must be in host:port format"),
        ("otel:70000", "must be in host:port format"),
    ],
)
def test_endpoints_of_collectors(endpoint: str, fault: str) -> None:
    found = [error.reason for error in checks.otel(OpenTelemetry(endpoint=endpoint), "o")]
    assert found == ([fault] if fault else [])


@pytest.mark.parametrize(
    ("ref", "includes", "only"),
    [
        (None, True, False),
        (TargetRef(kind="Mesh"), True, False),
        (TargetRef(kind="Mesh", proxy_types=("Gateway",)), True, True),
        (TargetRef(kind="Mesh", proxy_types=("Sidecar",)), False, False),
        (TargetRef(kind="MeshGateway", name="g"), True, True),
        (TargetRef(kind="MeshService", name="s"), False, False),
    ],
)
def test_which_target_refs_may_select_gateways(ref: TargetRef | None, includes: bool, only: bool) -> None:
    assert checks.includes_gateways(ref) is includes
    assert checks.only_gateways(ref) is only
