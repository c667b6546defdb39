"""MeshHTTPRoute: what a spec may say."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.mesh.policy.kinds.faults import faults

KIND = "MeshHTTPRoute"
PREFIX = "{path: {type: PathPrefix, value: /a}}"


def _spec(rule: str, ref: str = "{kind: MeshService, name: s}", **more: Any) -> dict[str, Any]:
    return {"to": [{"targetRef": yaml.safe_load(ref), "rules": [yaml.safe_load(rule)]}], **more}


def _rule(matches: str = PREFIX, filters: str = "", refs: str = "") -> str:
    default = ", ".join(
        part for part in (filters and f"filters: [{filters}]", refs and f"backendRefs: [{refs}]") if part
    )
    return f"{{matches: [{matches}], default: {{{default}}}}}"


@pytest.mark.parametrize(
    "rule",
    [
        _rule(),
        _rule("{path: {type: RegularExpression, value: a.*}}"),
        _rule(
            "{method: GET, headers: [{name: x, type: Present}], queryParams: [{type: Exact, name: q, value: v}]}"
        ),
        _rule(refs="{kind: MeshService, name: a, port: 80, weight: 0}, {kind: MeshExternalService, name: b}"),
        _rule(refs="{kind: MeshMultiZoneService, labels: {a: b}, port: 80}"),
        _rule(filters="{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}"),
        _rule('{headers: [{name: "x|a~b`c", value: v}]}'),
        _rule(
            filters="{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}"
        ),
        _rule(filters="{type: RequestRedirect, requestRedirect: {hostname: a.example, statusCode: 301}}"),
        _rule(
            filters="{type: RequestMirror, requestMirror: "
            "{percentage: '1.5', backendRef: {kind: MeshService, name: a}}}"
        ),
    ],
)
def test_valid(rule: str) -> None:
    assert faults(KIND, _spec(rule)) == []


DUPLICATE = "duplicate header name"
NOT_ALL_PREFIXES = "can only appear if all matches match a path prefix"
EXACT = "{path: {type: Exact, value: /a}}"


@pytest.mark.parametrize(
    ("rule", "field", "reason"),
    [
        (_rule("{path: {type: Exact, value: a}}"), "matches[0].path.value", "must be an absolute path"),
        (
            _rule("{path: {type: PathPrefix, value: /a/}}"),
            "matches[0].path.value",
            "does not need a trailing slash because only a `/`-separated prefix or an entire path is matched",
        ),
        (
            _rule("{queryParams: [{type: Exact, name: foo, value: a}, {type: Exact, name: foo, value: b}]}"),
            "matches[0].queryParams[1].name",
            "multiple entries for name foo",
        ),
        (
            _rule(
                filters="{type: RequestHeaderModifier, requestHeaderModifier: "
                "{set: [{name: a, value: b}, {name: a, value: c}]}}"
            ),
            "default.filters[0].requestHeaderModifier.set[1].name",
            DUPLICATE,
        ),
        (
            _rule(filters="{type: ResponseHeaderModifier, responseHeaderModifier: {}}"),
            "default.filters[0].responseHeaderModifier",
            "must have at least one defined: set, add, remove",
        ),
        (
            _rule(filters="{type: ResponseHeaderModifier, responseHeaderModifier: {remove: [a, a]}}"),
            "default.filters[0].responseHeaderModifier.remove[1].name",
            DUPLICATE,
        ),
        (
            _rule(
                EXACT,
                "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}",
            ),
            "default.filters[0].urlRewrite.path.replacePrefixMatch",
            NOT_ALL_PREFIXES,
        ),
        (
            _rule(
                f"{PREFIX}, {{method: GET}}",
                "{type: RequestRedirect, requestRedirect: "
                "{path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}",
            ),
            "default.filters[0].requestRedirect.path.replacePrefixMatch",
            NOT_ALL_PREFIXES,
        ),
        (
            _rule(refs="{kind: MeshServiceSubset, tags: {a: b}}"),
            "default.backendRefs[0].name",
            "must be set when kind is MeshServiceSubset",
        ),
        (
            _rule(refs="{kind: MeshMultiZoneService, name: a}"),
            "default.backendRefs[0].port",
            "must be defined with kind MeshMultiZoneService",
        ),
        (
            _rule(filters="{type: URLRewrite, urlRewrite: {hostToBackendHostname: true}}"),
            "default.filters[0].urlRewrite.hostToBackendHostname",
            "can only be set with MeshGateway",
        ),
        (
            _rule(filters="{type: RequestRedirect, requestRedirect: {hostname: 10.0.0.1}}"),
            "default.filters[0].requestRedirect.hostname",
            "cannot be an IP address",
        ),
        (
            _rule(
                filters="{type: RequestMirror, requestMirror: "
                "{backendRef: {kind: MeshServiceSubset, tags: {a: b}}}}"
            ),
            "default.filters[0].requestMirror.backendRef.name",
            "must be set when kind is MeshServiceSubset",
        ),
        (_rule(filters="{type: URLRewrite}"), "default.filters[0].urlRewrite", "must be defined"),
    ],
)
def test_invalid(rule: str, field: str, reason: str) -> None:
    assert faults(KIND, _spec(rule)) == [(f"spec.to[0].rules[0].{field}", reason)]


def test_routes_of_sidecars_are_for_services() -> None:
    assert faults(KIND, _spec(_rule(), "{kind: Mesh}")) == [
        ("spec.to[0].targetRef.kind", "value 'Mesh' is not supported")
    ]


def test_routes_of_gateways_are_for_the_mesh_and_lead_somewhere() -> None:
    top = {"targetRef": {"kind": "MeshGateway", "name": "g"}}
    assert faults(KIND, _spec(_rule(), **top)) == [
        ("spec.to[0].targetRef.kind", "value 'MeshService' is not supported"),
        ("spec.to[0].rules[0].default.backendRefs", "must not be empty"),
    ]
    led = _rule(refs="{kind: MeshService, name: a}")
    assert faults(KIND, _spec(led, "{kind: Mesh}", **top)) == []


def test_hostnames_are_for_gateways() -> None:
    spec = _spec(_rule())
    spec["to"][0]["hostnames"] = ["a.example"]
    assert faults(KIND, spec) == [("spec.to[0].hostnames", "must not be defined")]
