"""References to collectors, and what is left of a backend whose collector is not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.xds.config.worlds import policy, resource, view_of
from xds.config.confs import policy_of
from xds.config.otelrefs import endpoint_of
from xds.engine import Engine

Json = dict[str, Any]


def collector(name: str, **endpoint: Any) -> Json:
    labels = {"team": "a", "n": name}
    return {
        "type": "MeshOpenTelemetryBackend",
        "mesh": "default",
        "name": name,
        "labels": labels,
        "spec": {"endpoint": endpoint},
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ((("n", "one"),), "one.test:99"),
        ((("n", "two"),), "two.test:4317"),
        ((("n", "six"),), "[fd00::6]:4317"),
        ((("team", "a"),), "one.test:99"),
        ((("team", "b"),), ""),
        ((("n", "none"),), ""),
        ((), ""),
    ],
)
def test_the_first_backend_with_the_labels_counts(labels: tuple[tuple[str, str], ...], expected: str) -> None:
    view = view_of(
        [
            collector("one", address="one.test", port=99),
            collector("two", address="two.test"),
            collector("six", address="fd00::6"),
            collector("none", port=1),
        ]
    )
    assert Engine(view).get(endpoint_of, "default", labels) == expected


@pytest.mark.parametrize("kind", ["MeshMetric", "MeshTrace"])
def test_a_reference_becomes_an_address_once_there_is_one(kind: str) -> None:
    ref = {"kind": "MeshOpenTelemetryBackend", "labels": {"n": "one"}}
    backend = {"type": "OpenTelemetry", "openTelemetry": {"backendRef": ref}}
    document = policy(kind, "p", default={"backends": [backend]})
    view = view_of([document])
    engine = Engine(view)
    assert backends(engine, kind) == []
    found = resource(collector("one", address="one.test"))
    engine.advance(*view.with_changes(2, [(found.key, found)]))
    assert backends(engine, kind) == [
        {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "one.test:4317"}}
    ]


def backends(engine: Engine, kind: str) -> Any:
    found = engine.get(policy_of, kind, "default", "p")
    assert found is not None
    return list(found.spec["default"]["backends"])
