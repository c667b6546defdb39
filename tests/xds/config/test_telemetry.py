"""MeshMetric: listeners for who scrapes, sockets for who is pushed to; and the runner's own configuration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.xds.config.policies.sidecar import Sidecar
from tests.xds.config.worlds import mesh_service, policy
from xds.types import CLUSTER, LISTENER

ADMIN = {"dataplane.admin.port": "9901", "workdir": "/run/web"}
PROMETHEUS = {"type": "Prometheus", "prometheus": {"port": 5670, "path": "/metrics", "clientId": "main"}}
OTEL = {"type": "OpenTelemetry", "openTelemetry": {"endpoint": "otel.test:4317", "refreshInterval": "30s"}}
DYNAMIC = "_kuma:dynamicconfig"


def measured(*backends: dict[str, Any], **metadata: Any) -> Sidecar:
    sidecar = {"profiles": {"appendProfiles": [{"name": "None"}]}, "includeUnused": False}
    applications = [{"name": "app", "port": 8888}]
    conf = {"backends": list(backends), "sidecar": sidecar, "applications": applications}
    return Sidecar(policy("MeshMetric", "m", default=conf), **ADMIN, **metadata)


def document(sidecar: Sidecar, path: str) -> tuple[dict[str, Any], str, list[dict[str, Any]]]:
    """The body under a path, as JSON and as text, and the routes that serve it."""
    routes = [r for r in sidecar.routes(DYNAMIC) if r["match"]["path"] == path]
    body = routes[-1]["directResponse"]["body"]["inlineString"]
    return json.loads(body), body, routes


PROMETHEUS_NAME = "_kuma:metrics:prometheus:main"


def scraped(sidecar: Sidecar) -> dict[str, Any]:
    """The address behind the cluster that scrapes are sent to."""
    (endpoints,) = sidecar.config[CLUSTER][PROMETHEUS_NAME]["loadAssignment"]["endpoints"]
    address: dict[str, Any] = endpoints["lbEndpoints"][0]["endpoint"]["address"]
    return address


def test_prometheus_scrapes_what_the_runner_merged() -> None:
    sidecar = measured(PROMETHEUS)
    listener = sidecar.listener(PROMETHEUS_NAME)
    assert listener["address"]["socketAddress"] == {"address": "192.168.0.1", "portValue": 5670}
    (route,) = sidecar.routes(PROMETHEUS_NAME)
    assert route["match"] == {"path": "/metrics"}
    assert route["route"] == {"cluster": PROMETHEUS_NAME, "prefixRewrite": "/meshmetric"}
    assert scraped(sidecar) == {"pipe": {"path": "/run/web/kuma-mh-web-default.sock"}}
    assert scraped(measured(PROMETHEUS, metricsSocketPath="/mh")) == {"pipe": {"path": "/mh"}}


def test_prometheus_scrapes_envoy_where_the_runner_merges_nothing() -> None:
    sidecar = measured(PROMETHEUS, features=["feature-envoy-metrics"])
    (route,) = sidecar.routes(PROMETHEUS_NAME)
    assert route["route"]["prefixRewrite"] == "/stats/prometheus"
    assert scraped(sidecar) == {"socketAddress": {"address": "127.0.0.1", "portValue": 9901}}
    socket = {"dataplane.admin.socket": "/run/web/admin.sock", "features": ["feature-envoy-metrics"]}
    assert scraped(measured(PROMETHEUS, **socket)) == {"pipe": {"path": "/run/web/admin.sock"}}


def test_metrics_may_be_served_with_a_certificate() -> None:
    def transport(mode: str, **metadata: Any) -> Any:
        prometheus = {**PROMETHEUS["prometheus"], "tls": {"mode": mode}}  # type: ignore[dict-item]
        sidecar = measured({"type": "Prometheus", "prometheus": prometheus}, **metadata)
        return sidecar.listener(PROMETHEUS_NAME)["filterChains"][0].get("transportSocket")

    files = {"metricsCertPath": "/cert.pem", "metricsKeyPath": "/key.pem"}
    provided = transport("ProvidedTLS", **files)["typedConfig"]["commonTlsContext"]["tlsCertificates"]
    assert provided == [
        {"certificateChain": {"filename": "/cert.pem"}, "privateKey": {"filename": "/key.pem"}}
    ]
    assert transport("ProvidedTLS") is None
    assert transport("Disabled", **files) is None
    members = transport("ActiveMTLSBackend")["typedConfig"]
    assert members["requireClientCertificate"] is True


def test_the_runner_is_told_that_somebody_scrapes() -> None:
    found, _, _ = document(measured(PROMETHEUS, OTEL), "/meshmetric")
    backends = found["observability"]["metrics"]["backends"]
    assert backends[0] == {"type": "Prometheus"}
    assert backends[1]["name"] == "otel.test-4317"


def test_collectors_are_reached_through_a_socket() -> None:
    sidecar = measured(OTEL)
    name = "_kuma:metrics:opentelemetry:otel.test-4317"
    assert sidecar.listener(name)["address"] == {"pipe": {"path": "/run/web/kuma-otel-otel.test-4317.sock"}}
    assert sidecar.config[CLUSTER][name]["type"] == "STRICT_DNS"


def test_the_runner_is_told_what_to_publish() -> None:
    found, body, (known, served) = document(measured(OTEL), "/meshmetric")
    metrics = found["observability"]["metrics"]
    assert metrics["backends"][0]["openTelemetry"]["refreshInterval"] == "30s"
    assert metrics["applications"] == [{"name": "app", "port": 8888, "path": "/metrics"}]
    assert metrics["sidecar"] == {"profiles": {"appendProfiles": [{"name": "None"}]}, "includeUnused": False}
    assert metrics["extraLabels"]["team"] == "a"
    assert metrics["extraLabels"]["kuma_io_services"] == ",web,web-db,"
    tag = hashlib.sha256(body.encode()).hexdigest()
    assert served["responseHeadersToAdd"][0]["header"] == {"key": "Etag", "value": tag}
    assert known["match"]["headers"] == [{"name": "If-None-Match", "stringMatch": {"exact": tag}}]
    assert known["directResponse"] == {"status": 304}


def test_names_are_resolved_by_a_runner_that_does() -> None:
    service = mesh_service("named", vip="241.0.0.9")
    service["status"]["addresses"] = [{"hostname": "named.svc.mesh.local"}]
    settings = {"meshServices": {"mode": "Exclusive"}}
    sidecar = Sidecar(service, features=["feature-embedded-dns"], settings=settings)
    found, _, _ = document(sidecar, "/dns")
    assert found["records"] == [{"name": "named.svc.mesh.local", "ips": ["241.0.0.9"]}]


def test_without_need_there_is_no_listener_for_the_runner() -> None:
    assert DYNAMIC not in Sidecar().config[LISTENER]


@pytest.mark.envoy
def test_envoy_accepts(tmp_path: Path) -> None:
    measured(PROMETHEUS, OTEL, features=["feature-embedded-dns"]).validate(tmp_path)
