"""Old spellings are taken, and the answer tells what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.registry import KINDS
from mesh.validate import warnings
from tests.mesh.samples import sample

Json = dict[str, Any]
MESH = {"kind": "Mesh"}
OTEL = {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.example.com:4317"}}
BY_REF = {
    "type": "OpenTelemetry",
    "openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend", "labels": {"a": "b"}}},
}
COLLECTOR = (
    "openTelemetry.endpoint is deprecated, use openTelemetry.backendRef with a MeshOpenTelemetryBackend "
    "resource instead"
)
FROM = "'from' field is deprecated, use 'rules' instead"


def policy(kind: str, **spec: Any) -> list[str]:
    return warnings(decode({"type": kind, "mesh": "default", "name": "p", "spec": spec}))


def test_nothing_is_said_of_what_is_current() -> None:
    for kind in ("MeshTimeout", "MeshRetry", "MeshTrace", "MeshMetric", "Mesh"):
        assert warnings(decode(sample(KINDS[kind]))) == []


def test_from_where_rules_exist() -> None:
    conf = {"targetRef": MESH, "default": {"connectionTimeout": "1s"}}
    assert policy("MeshTimeout", **{"from": [conf]}) == [FROM]


@pytest.mark.parametrize("kind", ["MeshSubset", "MeshService"])
def test_kinds_of_targets(kind: str) -> None:
    (warning,) = policy("MeshTimeout", targetRef={"kind": kind, "name": "x"})
    assert warning == f"{kind} value for 'targetRef.kind' is deprecated, use Dataplane with labels instead"


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("MeshAccessLog", {"to": [{"targetRef": MESH, "default": {"backends": [OTEL]}}]}),
        ("MeshAccessLog", {"rules": [{"default": {"backends": [OTEL, BY_REF]}}]}),
        ("MeshMetric", {"default": {"backends": [OTEL]}}),
        ("MeshTrace", {"default": {"backends": [OTEL]}}),
    ],
)
def test_collectors_by_address(kind: str, spec: Json) -> None:
    assert policy(kind, **spec) == [COLLECTOR]


def test_collectors_by_reference() -> None:
    assert policy("MeshTrace", default={"backends": [BY_REF]}) == []


@pytest.mark.parametrize(("status", "warned"), [(399, True), (400, False), (429, False)])
def test_answers_to_what_is_too_much(status: int, warned: bool) -> None:
    local = {"http": {"requestRate": {"num": 1, "interval": "1s"}, "onRateLimit": {"status": status}}}
    found = policy("MeshRateLimit", rules=[{"default": {"local": local}}])
    text = (
        "'spec.rules[0].default.local.http.requestRate.status' must be 400 or higher. "
        "Please update your configuration."
    )
    assert found == ([text] if warned else [])
