"""MeshAccessLog, MeshTrace, MeshMetric: what their specs may say."""

from __future__ import annotations

import pytest

from mesh.errors import Invalid
from tests.mesh.policy.kinds.faults import faults

OTEL_NONE = "openTelemetry must have exactly one defined: endpoint, backendRef"
OTEL_BOTH = "openTelemetry must have only one type defined: endpoint, backendRef"
OTEL_REF = "backendRef must have exactly one defined: labels"
REF = "{kind: MeshOpenTelemetryBackend, labels: {a: b}}"
EMPTY_REF = "{kind: MeshOpenTelemetryBackend}"


def _log(backend: str) -> list[tuple[str, str]]:
    found = faults("MeshAccessLog", f"{{rules: [{{default: {{backends: [{backend}]}}}}]}}")
    return [(field.removeprefix("spec.rules[0].default.backends[0]."), reason) for field, reason in found]


@pytest.mark.parametrize(
    "backend",
    [
        "{type: File, file: {path: /tmp/log}}",
        "{type: File, file: {path: /tmp/log, format: {type: Plain, plain: '%START_TIME%'}}}",
        "{type: Tcp, tcp: {address: 'logs:8080', format: {type: Json, json: [{key: a, value: b}]}}}",
        "{type: OpenTelemetry, openTelemetry: {endpoint: 'otel:4317', body: {kvlistValue: {}}}}",
        f"{{type: OpenTelemetry, openTelemetry: {{backendRef: {REF}}}}}",
    ],
)
def test_valid_logs(backend: str) -> None:
    assert _log(backend) == []


def _attribute(key: str) -> list[tuple[str, str]]:
    otel = f"{{endpoint: 'otel:4317', attributes: [{{key: {key}, value: '%START_TIME%'}}]}}"
    return _log(f"{{type: OpenTelemetry, openTelemetry: {otel}}}")


@pytest.mark.parametrize("key", ["mesh", "start_time", "http.response.status_code", "v2"])
def test_names_of_attributes_of_logs(key: str) -> None:
    assert _attribute(key) == []


@pytest.mark.parametrize("key", ["Mesh", "2v", "a_", "a..b", "a b", "'%KUMA_MESH%'", "''"])
def test_no_names_of_attributes_of_logs(key: str) -> None:
    with pytest.raises(Invalid, match=r"attributes\[0\].key: in body should match"):
        _attribute(key)


@pytest.mark.parametrize(
    ("backend", "field", "reason"),
    [
        ("{type: File}", "file", "must be defined"),
        ("{type: Tcp}", "tcp", "must be defined"),
        ("{type: OpenTelemetry}", "openTelemetry", "must be defined"),
        ("{type: File, file: {path: log}}", "file.path", "file backend requires a valid path"),
        ("{type: Tcp, tcp: {address: logs}}", "tcp.address", "tcp backend requires valid address"),
        (
            "{type: File, file: {path: /l, format: {type: Plain}}}",
            "file.format.plain",
            "must be defined",
        ),
        (
            "{type: File, file: {path: /l, format: {type: Plain, plain: ''}}}",
            "file.format.plain",
            "must not be empty",
        ),
        (
            "{type: Tcp, tcp: {address: 'l:1', format: {type: Json}}}",
            "tcp.format.json",
            "must be defined",
        ),
        (
            "{type: Tcp, tcp: {address: 'l:1', format: {type: Json, json: []}}}",
            "tcp.format.json",
            "must not be empty",
        ),
        (
            "{type: File, file: {path: /l, format: {type: Json, json: [{key: '', value: v}]}}}",
            "file.format.json[0].key",
            "key cannot be empty",
        ),
        (
            "{type: File, file: {path: /l, format: {type: Json, json: [{key: k, value: ''}]}}}",
            "file.format.json[0].value",
            "value cannot be empty",
        ),
        (
            "{type: File, file: {path: /l, format: {type: Json, json: [{key: '\"', value: v}]}}}",
            "file.format.json[0]",
            "is not a valid JSON object",
        ),
        ("{type: OpenTelemetry, openTelemetry: {}}", "openTelemetry", OTEL_NONE),
        (
            f"{{type: OpenTelemetry, openTelemetry: {{endpoint: 'o:1', backendRef: {REF}}}}}",
            "openTelemetry",
            OTEL_BOTH,
        ),
        (
            f"{{type: OpenTelemetry, openTelemetry: {{backendRef: {EMPTY_REF}}}}}",
            "openTelemetry.backendRef",
            OTEL_REF,
        ),
    ],
)
def test_invalid_logs(backend: str, field: str, reason: str) -> None:
    assert _log(backend) == [(field, reason)]


def test_logs_need_backends_but_an_empty_list_is_one() -> None:
    to = "{{to: [{{targetRef: {{kind: Mesh}}, default: {}}}]}}"
    assert faults("MeshAccessLog", to.format("{}")) == [("spec.to[0].default.backends", "must be defined")]
    assert faults("MeshAccessLog", to.format("{backends: []}")) == []


def test_logs_of_gateways() -> None:
    spec = (
        "{targetRef: {kind: MeshGateway, name: g}, "
        "to: [{targetRef: {kind: MeshService, name: s}, default: {backends: []}}]}"
    )
    assert faults("MeshAccessLog", spec) == [
        ("spec.to[0].targetRef.kind", "value 'MeshService' is not supported")
    ]


def _trace(default: str) -> list[tuple[str, str]]:
    found = faults("MeshTrace", f"{{default: {default}}}")
    return [(field.removeprefix("spec.default."), reason) for field, reason in found]


def _span(backend: str) -> list[tuple[str, str]]:
    return _trace(f"{{backends: [{backend}]}}")


@pytest.mark.parametrize(
    "backend",
    [
        "{type: Zipkin, zipkin: {url: 'http://zipkin:9411/api/v2/spans'}}",
        "{type: Datadog, datadog: {url: 'http://agent:8126'}}",
        "{type: OpenTelemetry, openTelemetry: {endpoint: 'otel:4317'}}",
        f"{{type: OpenTelemetry, openTelemetry: {{backendRef: {REF}}}}}",
    ],
)
def test_valid_traces(backend: str) -> None:
    assert _span(backend) == []


@pytest.mark.parametrize(
    ("backend", "field", "reason"),
    [
        ("{type: Zipkin}", "zipkin", "must be defined"),
        ("{type: Datadog}", "datadog", "must be defined"),
        ("{type: OpenTelemetry}", "openTelemetry", "must be defined"),
        ("{type: Zipkin, zipkin: {url: ''}}", "zipkin.url", "must not be empty"),
        ("{type: Zipkin, zipkin: {url: 'zipkin'}}", "zipkin.url", "must be a valid url"),
        ("{type: Datadog, datadog: {url: agent}}", "datadog.url", "must be a valid url"),
        ("{type: Datadog, datadog: {url: 'http://agent'}}", "datadog.url", "port must be defined"),
        (
            "{type: Datadog, datadog: {url: 'http://agent:99999'}}",
            "datadog.url",
            "port must be a valid (1-65535)",
        ),
        ("{type: Datadog, datadog: {url: 'https://agent:8126'}}", "datadog.url", "scheme must be http"),
        ("{type: Datadog, datadog: {url: 'http://agent:1/x'}}", "datadog.url", "path must not be defined"),
        ("{type: OpenTelemetry, openTelemetry: {}}", "openTelemetry", OTEL_NONE),
        (
            "{type: OpenTelemetry, openTelemetry: {endpoint: 'http://o:1'}}",
            "openTelemetry.endpoint",
            "must be in host:port format, not a URL",
        ),
    ],
)
def test_invalid_traces(backend: str, field: str, reason: str) -> None:
    assert _span(backend) == [(f"backends[0].{field}", reason)]


@pytest.mark.parametrize(
    ("default", "field", "reason"),
    [
        ("{}", "backends", "must be defined"),
        ("{backends: [], tags: [{name: '', literal: x}]}", "tags[0].name", "must not be empty"),
        (
            "{backends: [], tags: [{name: a, literal: x, header: {name: b}}]}",
            "tags[0]",
            "tag must have only one type defined: header, literal",
        ),
        ("{backends: [], sampling: {overall: 101}}", "sampling.overall", "must be between 0 and 100"),
        ("{backends: [], sampling: {client: x}}", "sampling.client", "string is not a number"),
        ("{backends: [], sampling: {random: ''}}", "sampling.random", "string is not a number"),
    ],
)
def test_invalid_tracing(default: str, field: str, reason: str) -> None:
    assert _trace(default) == [(field, reason)]


def test_traces_are_for_whole_gateways() -> None:
    spec = "{targetRef: {kind: MeshGateway, name: g, tags: {a: b}}, default: {backends: []}}"
    assert faults("MeshTrace", spec) == [("spec.targetRef.tags", "must not be set with kind MeshGateway")]


def _metric(default: str) -> list[tuple[str, str]]:
    found = faults("MeshMetric", f"{{default: {default}}}")
    return [(field.removeprefix("spec.default."), reason) for field, reason in found]


def test_valid_metrics() -> None:
    default = """
      {sidecar: {profiles: {appendProfiles: [{name: Basic}], exclude: [{type: Regex, match: a.*}]}},
       applications: [{port: 80}],
       backends: [{type: Prometheus, prometheus: {}}, {type: OpenTelemetry, openTelemetry: {endpoint: 'o:1'}}]}
    """
    assert _metric(default) == []


@pytest.mark.parametrize(
    ("default", "field", "reason"),
    [
        ("{backends: [{type: Prometheus}]}", "backends.backend[0].prometheus", "must be defined"),
        ("{backends: [{type: OpenTelemetry}]}", "backends.backend[0].openTelemetry", "must be defined"),
        (
            "{backends: [{type: Prometheus, prometheus: {port: 95599}}]}",
            "backends.backend[0].port",
            "port must be a valid (1-65535)",
        ),
        ("{applications: [{port: 0}]}", "applications.application[0]", "port must be a valid (1-65535)"),
        (
            "{sidecar: {profiles: {exclude: [{type: Regex, match: '((('}]}}}",
            "sidecar.profiles.exclude[0].match",
            "invalid regex",
        ),
        (
            "{backends: [{type: OpenTelemetry, openTelemetry: {endpoint: 'o:x'}}]}",
            "backends.backend[0].openTelemetry.endpoint",
            "must be in host:port format",
        ),
        (
            "{backends: [{type: OpenTelemetry, openTelemetry: {}}]}",
            "backends.backend[0].openTelemetry",
            OTEL_NONE,
        ),
    ],
)
def test_invalid_metrics(default: str, field: str, reason: str) -> None:
    assert _metric(default) == [(field, reason)]
