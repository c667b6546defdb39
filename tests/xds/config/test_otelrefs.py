"""References to collectors, and what is left of a backend whose collector is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import HTTP_IN, Sidecar, rules
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


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/base/", "otlp+http://one.test:4317/base"), (None, "otlp+http://one.test:4317")],
)
def test_a_backend_that_speaks_http_is_known_by_it(path: str | None, expected: str) -> None:
    endpoint = {"address": "one.test"} | ({"path": path} if path else {})
    document = collector("one", **endpoint)
    document["spec"]["protocol"] = "http"
    assert Engine(view_of([document])).get(endpoint_of, "default", (("n", "one"),)) == expected


def over_http(*policies: Json) -> Sidecar:
    document = collector("one", address="one.test", port=4318, path="/base")
    document["spec"]["protocol"] = "http"
    return Sidecar(document, *policies)


REF = {"openTelemetry": {"backendRef": {"kind": "MeshOpenTelemetryBackend", "labels": {"n": "one"}}}}
BACKENDS = {"backends": [{"type": "OpenTelemetry", **REF}]}


def test_spans_may_go_over_http() -> None:
    sidecar = over_http(policy("MeshTrace", "p", default=BACKENDS))
    provider = sidecar.manager(HTTP_IN)["tracing"]["provider"]["typedConfig"]
    assert provider["httpService"]["httpUri"] == {
        "uri": "http://one.test:4318/base/v1/traces",
        "cluster": "meshtrace:opentelemetry",
        "timeout": "10s",
    }
    assert "grpcService" not in provider
    assert "typedExtensionProtocolOptions" not in sidecar.cluster("meshtrace:opentelemetry")


def test_logs_may_go_over_http() -> None:
    sidecar = over_http(rules("MeshAccessLog", BACKENDS))
    (found,) = sidecar.manager(HTTP_IN)["accessLog"]
    config = found["typedConfig"]
    assert config["httpService"]["httpUri"]["uri"] == "http://one.test:4318/base/v1/logs"
    assert config["logName"] == "MeshAccessLog" and "commonConfig" not in config


def test_metrics_may_go_over_http() -> None:
    sidecar = over_http(policy("MeshMetric", "p", default=BACKENDS))
    assert "typedExtensionProtocolOptions" not in sidecar.cluster("_kuma:metrics:opentelemetry:one.test-4318")


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    trace, metrics = (policy(kind, "p", default=BACKENDS) for kind in ("MeshTrace", "MeshMetric"))
    over_http(rules("MeshAccessLog", BACKENDS), trace, metrics).validate(tmp_path)


def backends(engine: Engine, kind: str) -> Any:
    found = engine.get(policy_of, kind, "default", "p")
    assert found is not None
    return list(found.spec["default"]["backends"])
