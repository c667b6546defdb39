"""MeshTrace: where proxies report the spans of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xds.config import hcm
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, named
from xds.config.percent import number
from xds.config.policies.collectors import (
    DATADOG_PORT,
    ZIPKIN_PORT,
    Collector,
    http_collector,
    http_service,
    otel_collector,
)

if TYPE_CHECKING:
    from xds.config.gateway import GatewayListener
    from xds.config.inbound import Inbound
    from xds.config.outbound import Outbound, Source
    from xds.config.zoneproxy import ZoneListener

KIND = "MeshTrace"
ZIPKIN = "envoy.config.trace.v3.ZipkinConfig"
DATADOG = "envoy.config.trace.v3.DatadogConfig"
OTEL = "envoy.config.trace.v3.OpenTelemetryConfig"
_VERSIONS = {"httpJson": "HTTP_JSON", "httpProto": "HTTP_PROTO"}


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Report the requests that come in."""
    if inbound.source is not None:
        _edit(draft, inbound.proxy, inbound.source, "INBOUND")


def edit_outbound_listener(draft: Draft, outbound: Outbound) -> None:
    """Report the requests to a destination. What leaves the mesh is reported by the egress."""
    if outbound.source is not None and not outbound.external:
        _edit(draft, outbound.proxy, outbound.source, f"OUTBOUND_{outbound.display_service}")


def edit_gateway_listener(draft: Draft, listener: GatewayListener) -> None:
    """Report the requests that come in from outside the mesh."""
    if listener.source is not None:
        _edit(draft, listener.proxy, listener.source, "INBOUND")


def edit_zone_chain(draft: Draft, value: ZoneListener) -> None:
    """Report the requests that leave through an egress."""
    if value.source is not None:
        _edit({"filter_chains": [draft]}, value.proxy, value.source, "OUTBOUND")


def _edit(draft: Draft, confs: KindConfs, source: Source, place: str) -> None:
    conf = conf_of(KIND, confs)
    if conf is None or not conf.backends:
        return
    tracing = {"custom_tags": _tags(conf, source), "spawn_upstream_span": {"value": False}}
    tracing |= _sampling(conf.sampling)
    tracing["provider"] = _provider(conf.backends[0], source, place)
    for manager in hcm.managers(draft):
        manager["tracing"] = tracing


def _sampling(sampling: Any) -> Draft:
    draft: Draft = {}
    for name in ("overall", "client", "random"):
        value = getattr(sampling, name, None)
        if value is not None:
            draft[f"{name}_sampling"] = {"value": number(value)}
    return draft


def _tags(conf: Any, source: Source) -> list[Draft]:
    own = {"kuma.mesh": source.mesh, "kuma.zone": source.zone, "kuma.workload": source.workload}
    found: list[Draft] = [{"tag": name, "literal": {"value": value}} for name, value in own.items() if value]
    for tag in conf.tags or ():
        if tag.header is not None:
            header = {"name": tag.header.name, "default_value": tag.header.default or ""}
            found.append({"tag": tag.name, "request_header": header})
        else:
            found.append({"tag": tag.name, "literal": {"value": tag.literal or ""}})
    return found


def _provider(backend: Any, source: Source, place: str) -> Draft:
    name, collector = collector_of(backend, unified=source.unified)
    if backend.type == "Zipkin":
        found = backend.zipkin
        fields: Draft = {
            "collector_cluster": name,
            "collector_endpoint": collector.path or "/",
            "collector_endpoint_version": _VERSIONS[found.api_version],
            "collector_hostname": f"{collector.host}:{collector.port}",
            "shared_span_context": {"value": found.shared_span_context},
            "trace_id_128bit": found.trace_id128bit,
        }
        return named("envoy.tracers.zipkin", ZIPKIN, fields)
    service = source.service
    if backend.type == "Datadog":
        if backend.datadog.split_service:
            service = f"{service}_{place}"
        fields = {"collector_cluster": name, "service_name": service}
        return named("envoy.tracers.datadog", DATADOG, fields)
    if collector.over_http:
        fields = {"http_service": http_service(collector, name, "traces")}
    else:
        fields = {"grpc_service": {"envoy_grpc": {"cluster_name": name}}}
    return named("envoy.tracers.opentelemetry", OTEL, fields | {"service_name": service})


def collector_of(backend: Any, *, unified: bool) -> tuple[str, Collector]:
    """The name of the cluster of a backend, and where it leads."""
    start = "system_meshtrace_" if unified else "meshtrace:"
    if backend.type == "Zipkin":
        return f"{start}zipkin", http_collector(backend.zipkin.url, ZIPKIN_PORT)
    if backend.type == "Datadog":
        return f"{start}datadog", http_collector(backend.datadog.url, DATADOG_PORT)
    found = otel_collector(backend.open_telemetry.endpoint)
    return f"{start}otel_{found.name}" if unified else f"{start}opentelemetry", found
