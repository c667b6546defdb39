"""MeshTrace: one provider for all requests of a proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import HTTP_IN, HTTP_OUT, TCP_OUT, Sidecar
from tests.xds.config.worlds import policy

ZIPKIN = {
    "type": "Zipkin",
    "zipkin": {
        "url": "http://zipkin.test:9411/api/v2/spans",
        "apiVersion": "httpProto",
        "traceId128bit": True,
    },
}
DATADOG = {"type": "Datadog", "datadog": {"url": "http://10.0.0.9:8126", "splitService": True}}
OTEL = {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.test:4317"}}
TAGS = [{"name": "env", "literal": "prod"}, {"name": "v", "header": {"name": "x-v", "default": "none"}}]


def traced(backend: dict[str, Any], **conf: Any) -> Sidecar:
    return Sidecar(policy("MeshTrace", "t", default={"backends": [backend], **conf}))


def provider(sidecar: Sidecar, listener: str) -> dict[str, Any]:
    found: dict[str, Any] = sidecar.manager(listener)["tracing"]["provider"]["typedConfig"]
    return found


def test_zipkin() -> None:
    sidecar = traced(ZIPKIN, sampling={"overall": 50, "random": "12.5"}, tags=TAGS)
    found = provider(sidecar, HTTP_OUT)
    assert found["collectorCluster"] == "meshtrace:zipkin"
    assert found["collectorEndpoint"] == "/api/v2/spans"
    assert found["collectorEndpointVersion"] == "HTTP_PROTO"
    assert found["traceId128bit"] is True
    tracing = sidecar.manager(HTTP_IN)["tracing"]
    assert (tracing["overallSampling"], tracing["randomSampling"]) == ({"value": 50.0}, {"value": 12.5})
    assert [tag["tag"] for tag in tracing["customTags"]] == ["kuma.mesh", "env", "v"]
    assert sidecar.cluster("meshtrace:zipkin")["type"] == "STRICT_DNS"
    assert "tracing" not in sidecar.manager(TCP_OUT)


def test_datadog_can_split_services_by_direction() -> None:
    sidecar = traced(DATADOG)
    assert provider(sidecar, HTTP_OUT)["serviceName"] == "web_OUTBOUND_api"
    assert provider(sidecar, HTTP_IN)["serviceName"] == "web_INBOUND"
    assert sidecar.cluster("meshtrace:datadog")["type"] == "STATIC"


def test_opentelemetry() -> None:
    sidecar = traced(OTEL)
    name = "meshtrace:opentelemetry"
    assert provider(sidecar, HTTP_OUT)["grpcService"]["envoyGrpc"]["clusterName"] == name
    assert "http2ProtocolOptions" in str(sidecar.cluster(name))


def test_no_backend_no_spans() -> None:
    assert "tracing" not in Sidecar(policy("MeshTrace", "t", default={"backends": []})).manager(HTTP_OUT)


@pytest.mark.envoy
@pytest.mark.parametrize("backend", [ZIPKIN, DATADOG, OTEL], ids=["zipkin", "datadog", "otel"])
def test_envoy_accepts(backend: dict[str, Any], tmp_path: Path) -> None:
    traced(backend, tags=TAGS, sampling={"overall": 50}).validate(tmp_path)
