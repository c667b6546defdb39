"""MeshTCPRoute, MeshPassthrough, MeshProxyPatch: what their specs may say."""

from __future__ import annotations

import pytest

from tests.mesh.policy.kinds.faults import faults


def test_tcp_routes() -> None:
    def route(ref: str, destination: str = "{kind: MeshService, name: s}", top: str = "") -> str:
        return f"{{{top} to: [{{targetRef: {destination}, rules: [{{default: {{backendRefs: [{ref}]}}}}]}}]}}"

    good = "{kind: MeshService, name: a}"
    where = "spec.to[0].rules[0].default.backendRefs[0]"
    assert faults("MeshTCPRoute", route(good)) == []
    assert faults("MeshTCPRoute", route("{kind: MeshServiceSubset}")) == [
        (f"{where}.name", "must be set when kind is MeshServiceSubset")
    ]
    assert faults("MeshTCPRoute", route("{kind: MeshMultiZoneService, name: a}")) == [
        (f"{where}.port", "must be defined with kind MeshMultiZoneService")
    ]
    assert faults("MeshTCPRoute", route(good, "{kind: Mesh}")) == [
        ("spec.to[0].targetRef.kind", "value 'Mesh' is not supported")
    ]
    gateway = "targetRef: {kind: MeshGateway, name: g},"
    assert faults("MeshTCPRoute", route(good, top=gateway)) == [
        ("spec.to[0].targetRef.kind", "value 'MeshService' is not supported")
    ]
    assert faults("MeshTCPRoute", route(good, "{kind: Mesh}", gateway)) == []


def _passthrough(*matches: str) -> list[tuple[str, str]]:
    found = faults("MeshPassthrough", f"{{default: {{appendMatch: [{', '.join(matches)}]}}}}")
    return [(field.removeprefix("spec.default.appendMatch"), reason) for field, reason in found]


@pytest.mark.parametrize(
    "match",
    [
        "{type: Domain, value: a.example, protocol: tls, port: 443}",
        "{type: Domain, value: '*.example.com', protocol: http, port: 80}",
        "{type: IP, value: 10.0.0.1}",
        "{type: IP, value: '::1', protocol: mysql, port: 3306}",
        "{type: CIDR, value: 10.0.0.0/8, protocol: tcp}",
    ],
)
def test_valid_passthrough(match: str) -> None:
    assert _passthrough(match) == []


@pytest.mark.parametrize(
    ("match", "field"),
    [
        ("{type: IP, value: 10.0.0}", "[0].value"),
        ("{type: CIDR, value: 10.0.0.0/99}", "[0].value"),
        ("{type: Domain, value: '*', protocol: http}", "[0].value"),
        ("{type: Domain, value: 'a.*.example', protocol: http}", "[0].value"),
        ("{type: Domain, value: 'a b', protocol: http}", "[0].value"),
        ("{type: Domain, value: a.example}", "[0].protocol"),
        ("{type: IP, value: 10.0.0.1, port: 70000}", "[0].port"),
        ("{type: IP, value: 10.0.0.1, protocol: mysql}", "[0].port"),
    ],
)
def test_invalid_passthrough(match: str, field: str) -> None:
    assert [found for found, _ in _passthrough(match)] == [field]


def test_one_port_speaks_one_http_dialect() -> None:
    first = "{type: Domain, value: a.example, protocol: http, port: 80}"
    other = "{type: Domain, value: b.example, protocol: http2, port: 80}"
    elsewhere = "{type: Domain, value: b.example, protocol: http2, port: 81}"
    assert _passthrough(first, elsewhere) == []
    ((field, reason),) = _passthrough(first, other)
    assert field == "[1].port"
    assert "port 80" in reason


def _patch(change: str) -> list[tuple[str, str]]:
    found = faults("MeshProxyPatch", f"{{default: {{appendModifications: [{change}]}}}}")
    return [(field.removeprefix("spec.default.appendModifications[0]"), reason) for field, reason in found]


@pytest.mark.parametrize(
    "change",
    [
        "{cluster: {operation: Add, value: 'name: a'}}",
        "{cluster: {operation: Remove, match: {name: a}}}",
        "{listener: {operation: Patch, jsonPatches: [{op: add, path: /a, value: 1}]}}",
        "{networkFilter: {operation: AddBefore, match: {name: a}, value: 'name: b'}}",
        "{httpFilter: {operation: AddLast, value: 'name: b'}}",
        "{virtualHost: {operation: Add, match: {routeConfigurationName: r}, value: 'name: b'}}",
        "{cluster: {operation: Patch, jsonPatches: [{op: move, path: /a, from: /b}]}}",
    ],
)
def test_valid_patches(change: str) -> None:
    assert _patch(change) == []


BEFORE = "must be defined. You need to pick a filter before which this one will be added"
AFTER = "must be defined. You need to pick a filter after which this one will be added"


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        (
            "{}",
            "",
            "exactly one modification can be defined at a time. Currently, 0 modifications are defined",
        ),
        (
            "{cluster: {operation: Remove}, listener: {operation: Remove}}",
            "",
            "exactly one modification can be defined at a time. Currently, 2 modifications are defined",
        ),
        ("{cluster: {operation: Add}}", ".cluster.value", "must be defined"),
        (
            "{cluster: {operation: Add, value: '{}', match: {name: b}}}",
            ".cluster.match",
            "must not be defined",
        ),
        ("{listener: {operation: Remove, value: '{}'}}", ".listener.value", "must not be defined"),
        (
            "{cluster: {operation: Patch}}",
            ".cluster",
            "cluster must have exactly one defined: value, jsonPatches",
        ),
        (
            "{cluster: {operation: Patch, value: '{}', jsonPatches: [{op: remove, path: /a}]}}",
            ".cluster",
            "cluster must have only one type defined: value, jsonPatches",
        ),
        ("{networkFilter: {operation: AddBefore, value: '{}'}}", ".networkFilter.match.name", BEFORE),
        ("{httpFilter: {operation: AddAfter, value: '{}'}}", ".httpFilter.match.name", AFTER),
        ("{httpFilter: {operation: Patch, value: '{}'}}", ".httpFilter.match.name", "must be defined"),
        (
            "{virtualHost: {operation: Add, match: {name: a}, value: '{}'}}",
            ".virtualHost.match.name",
            "must not be defined",
        ),
    ],
)
def test_invalid_patches(change: str, field: str, reason: str) -> None:
    assert _patch(change) == [(field, reason)]


ADDS, MOVES = '"op" is one of ["add", "replace"]', '"op" is one of ["move", "copy"]'


@pytest.mark.parametrize("value", ["a", "[]", "{", "a: b: c", ""])
def test_a_value_is_an_object(value: str) -> None:
    ((field, reason),) = faults(
        "MeshProxyPatch",
        {"default": {"appendModifications": [{"cluster": {"operation": "Add", "value": value}}]}},
    )
    assert field == "spec.default.appendModifications[0].cluster.value"
    assert reason.startswith("native Envoy resource is not valid: ")


@pytest.mark.parametrize(
    ("patches", "field", "reason"),
    [
        ("[]", "", "must not be empty"),
        ("[{op: remove, path: /a, value: 1}]", "[0].value", f'"value" is allowed only when {ADDS}'),
        ("[{op: add, path: /a}]", "[0].value", f'"value" must not be empty when {ADDS}'),
        ("[{op: add, path: /a, value: 1, from: /b}]", "[0].from", f'"from" is allowed only when {MOVES}'),
        ("[{op: copy, path: /a}]", "[0].from", f'"from" must not be empty when {MOVES}'),
        ("[{op: remove, path: /}]", "[0].path", "root path cannot be removed"),
    ],
)
def test_json_patches(patches: str, field: str, reason: str) -> None:
    found = _patch(f"{{cluster: {{operation: Patch, jsonPatches: {patches}}}}}")
    assert found == [(f".cluster.jsonPatches{field}", reason)]


def test_a_patch_changes_something() -> None:
    assert faults("MeshProxyPatch", "{default: {}}") == [
        ("spec.default.appendModifications", "must not be empty")
    ]
