"""What telemetry policies make proxies tell: lines in a file, spans at a collector, metrics at a port."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from cp.up.story import until
from dp.ports import free_ports
from tests.policies.harness import HOST, Seen, Services

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

TO_ALL = {"targetRef": {"kind": "Mesh"}}
AT_WEB = {"targetRef": {"kind": "Dataplane", "name": "web"}}


async def test_meshaccesslog_writes_a_line_for_each_request(mesh: Services) -> None:
    path = mesh.directory / "access.log"
    text = "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %KUMA_SOURCE_SERVICE%->%KUMA_DESTINATION_SERVICE%"
    backend = {"type": "File", "file": {"path": str(path), "format": {"type": "Plain", "plain": text}}}
    spec = {**AT_WEB, "to": [{**TO_ALL, "default": {"backends": [backend]}}]}
    async with mesh.policy("MeshAccessLog", spec):

        async def written() -> bool:
            await mesh.request(mesh.ports.v1, "/logged?a=1")
            return path.exists() and "/logged" in path.read_text()

        await until("the log has a line", written)
    method, url, status, services = path.read_text().splitlines()[-1].split(" ")
    assert (method, url, status) == ("GET", "/logged?a=1", "200")
    source, _, destination = services.partition("->")
    assert source == "web" and "backend" in destination


def is_traced(span: dict[str, Any]) -> bool:
    return str(span["tags"].get("http.url", "")).endswith("/traced")


async def test_meshtrace_reports_a_span(mesh: Services) -> None:
    collector = await mesh.app("collector")
    spans: list[dict[str, Any]] = []

    async def collect(seen: Seen) -> web.Response:
        assert seen.path == "/api/v2/spans"
        spans.extend(json.loads(seen.body))
        return web.Response(status=202)

    collector.answer = collect
    url = f"http://{HOST}:{collector.port}/api/v2/spans"
    default = {
        "backends": [{"type": "Zipkin", "zipkin": {"url": url}}],
        "sampling": {"overall": 100, "random": 100},
        "tags": [{"name": "team", "literal": "shop"}],
    }
    async with mesh.policy("MeshTrace", {"default": default}):

        def traced_by(kind: str) -> set[str]:
            return {span["traceId"] for span in spans if span["kind"] == kind and is_traced(span)}

        async def reported() -> bool:
            await mesh.request(mesh.ports.v1, "/traced")
            return bool(traced_by("CLIENT") & traced_by("SERVER"))

        await until("the collector has spans of both sides of one trace", reported)
    traced = [span for span in spans if is_traced(span)]
    assert all(span["tags"]["team"] == "shop" for span in traced)
    assert all(span["tags"]["kuma.mesh"] == "default" for span in traced)
    headers = {name.lower() for seen in mesh.apps["v1"].seen for name in seen.headers}
    assert "x-b3-traceid" in headers


async def test_meshmetric_serves_envoys_metrics(mesh: Services) -> None:
    inbound, metrics = free_ports(2)
    app = await mesh.app("metered")
    tags = {"kuma.io/service": "metered", "kuma.io/protocol": "http"}
    listening = {"port": inbound, "servicePort": app.port, "serviceAddress": HOST, "tags": tags}
    await mesh.proxy("metered", {"inbound": [listening]})
    prometheus = {"type": "Prometheus", "prometheus": {"port": metrics, "path": "/metrics"}}
    spec = {
        "targetRef": {"kind": "Dataplane", "name": "metered"},
        "default": {"backends": [prometheus], "sidecar": {"includeUnused": True}},
    }
    async with mesh.policy("MeshMetric", spec):

        async def scraped() -> bool:
            await mesh.request(inbound)
            reply = await mesh.request(metrics, "/metrics")
            lines = [
                line
                for line in reply.text.splitlines()
                if line.startswith("envoy_cluster_upstream_rq_total{")
            ]
            return reply.status == 200 and any(float(line.split()[-1]) > 0 for line in lines)

        await until("the metrics count the requests", scraped)

    async def closed() -> bool:
        return (await mesh.request(metrics, "/metrics")).status == 0

    await until("the port is closed again", closed)
