"""MeshAccessLog: where proxies write down the connections and requests they saw.

Formats may hold placeholders of the mesh (`%KUMA_…%`); they are filled in here, since Envoy does not
know them. A log of one MeshHTTPRoute cannot hang on that route in Envoy: a Lua filter copies the
route's identifier to where the log's filter can see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from xds.config import hcm
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, Fields, named
from xds.config.policies import callers
from xds.config.policies.collectors import any_value, http_service, otel_collector

if TYPE_CHECKING:
    from xds.config.gateway import GatewayListener
    from xds.config.inbound import Inbound
    from xds.config.outbound import Outbound, Source
    from xds.config.routes import Route
    from xds.config.transparent import Passthrough
    from xds.config.zoneproxy import Chain

KIND = "MeshAccessLog"
FILE = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
OTEL = "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"
ROUTES_NAMESPACE = "kuma.routes"
ROUTE_KEY = "route_kri"
LUA_CODE = """\
function envoy_on_request(handle)
  local meta = handle:metadata():get("route_kri")
  if meta ~= nil then
    handle:streamInfo():dynamicMetadata():set("kuma.routes", "route_kri", meta)
  end
end
"""
TCP_FORMAT = (
    "[%START_TIME%] %RESPONSE_FLAGS% %KUMA_MESH% "
    "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%(%KUMA_SOURCE_SERVICE%)"
    "->%UPSTREAM_HOST%(%KUMA_DESTINATION_SERVICE%) "
    "took %DURATION%ms, sent %BYTES_SENT% bytes, received: %BYTES_RECEIVED% bytes"
)
HTTP_FORMAT = (
    '[%START_TIME%] %KUMA_MESH% "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-B3-TRACEID?X-DATADOG-TRACEID)%" "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" '
    '"%KUMA_SOURCE_SERVICE%" "%KUMA_DESTINATION_SERVICE%" '
    '"%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%" "%UPSTREAM_HOST%"'
)
UNKNOWN = "unknown"
EXTERNAL = "external"
ANY_DESTINATION = "*"

Values = Mapping[str, str]


# --- drafts --------------------------------------------------------------------------------------


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Log what comes in."""
    if inbound.source is not None:
        values = _inbound_values(inbound.source, inbound.facts.service)
        rules = callers.rules_of(KIND, inbound.rules)
        if rules:
            _add_by_caller(draft, rules, values, inbound.source)
        else:
            _add(draft, _backends(inbound.confs), values, inbound.source)


def edit_zone_chain(draft: Draft, chain: Chain, source: Source | None) -> None:
    """Log what leaves through an egress for one server name, or comes in through an ingress."""
    if source is not None:
        values = dict(_inbound_values(source, chain.service))
        if chain.security is not None:
            values["%KUMA_TRAFFIC_DIRECTION%"] = "OUTBOUND"
        _add_by_caller({"filter_chains": [draft]}, callers.rules_of(KIND, chain.rules), values, source)


def _add_by_caller(draft: Draft, rules: Iterable[callers.Rule], values: Values, source: Source) -> None:
    """Log by who calls. Chains without certificates know nobody: there all are everybody else."""
    for rule in rules:
        backends = rule.typed(KIND).backends or ()
        for chain in draft["filter_chains"]:
            part = {"filter_chains": [chain]}
            known = "transport_socket" in chain
            only = callers.connections_of(rule) if known else None
            for backend in backends:
                for config in hcm.managers(part):
                    requests = callers.requests_of(KIND, rule)
                    _append(config, backend, HTTP_FORMAT, values, source, requests)
                for config in hcm.tcp_proxies(part) if known or rule.match is None else ():
                    _append(config, backend, TCP_FORMAT, values, source, only)


def edit_gateway_listener(draft: Draft, listener: GatewayListener) -> None:
    """Log what goes through a gateway, as outbound traffic and as inbound traffic."""
    source = listener.source
    if source is not None:
        _add(draft, _backends(listener.to_confs), _outbound_values(source, ANY_DESTINATION), source)
        _add(draft, _backends(listener.confs), _inbound_values(source, source.service), source)


def edit_direct(draft: Draft, name: str, confs: KindConfs, source: Source | None) -> None:
    """Log what goes to a single proxy by its address."""
    if source is not None:
        _add(draft, _backends(confs), _outbound_values(source, name), source)


def edit_outbound_listener(draft: Draft, outbound: Outbound) -> None:
    """Log what goes to a destination; requests that a route's own log covers, there only."""
    source = outbound.source
    if source is None:
        return
    values = _outbound_values(source, outbound.display_service)
    backends = _backends(outbound.confs)
    if not outbound.http or not outbound.resource:
        _add(draft, backends, values, source)
        return
    _add(draft, backends, values, source, route_filter(""))
    by_route = {route.kri: found for route in outbound.routes if (found := _backends(route.confs))}
    for kri, found in by_route.items():
        _add(draft, found, values, source, route_filter(kri))
    if by_route:
        for manager in hcm.managers(draft):
            code = {"default_source_code": {"inline_string": LUA_CODE}}
            hcm.prepend_http_filter(manager, named(callers.LUA_FILTER, callers.LUA, code))


def edit_route(draft: Draft, route: Route, outbound: Outbound) -> None:
    """Let the Lua filter know which route it is, if the route has a log of its own."""
    if route.kri and outbound.source is not None and _backends(route.confs):
        draft["metadata"] = {"filter_metadata": {callers.LUA_FILTER: Fields({ROUTE_KEY: route.kri})}}


def edit_passthrough(draft: Draft, passthrough: Passthrough) -> None:
    """Log what leaves the mesh."""
    if passthrough.source is not None and passthrough.direction == "outbound":
        values = _outbound_values(passthrough.source, EXTERNAL)
        _add(draft, _backends(passthrough.confs), values, passthrough.source)


def _inbound_values(source: Source, service: str) -> Values:
    return {
        "%KUMA_SOURCE_SERVICE%": UNKNOWN,
        "%KUMA_SOURCE_ADDRESS%": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%KUMA_DESTINATION_SERVICE%": service,
        "%KUMA_MESH%": source.mesh,
        "%KUMA_ZONE%": source.zone,
        "%KUMA_TRAFFIC_DIRECTION%": "INBOUND",
    }


def _outbound_values(source: Source, destination: str) -> Values:
    return {
        "%KUMA_SOURCE_SERVICE%": source.service,
        "%KUMA_SOURCE_ADDRESS%": f"{source.address}:0",
        "%KUMA_SOURCE_ADDRESS_WITHOUT_PORT%": source.address,
        "%KUMA_DESTINATION_SERVICE%": destination,
        "%KUMA_MESH%": source.mesh,
        "%KUMA_ZONE%": source.zone,
        "%KUMA_TRAFFIC_DIRECTION%": "OUTBOUND",
    }


def route_filter(kri: str) -> Draft:
    """Only requests of one route; for "" only those of routes without a log of their own."""
    value: Draft = {"string_match": {"exact": kri}} if kri else {"null_match": {}}
    matcher = {"filter": ROUTES_NAMESPACE, "path": [{"key": ROUTE_KEY}], "value": value}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": {"value": not kri}}}


def _backends(confs: KindConfs) -> list[Any]:
    conf = conf_of(KIND, confs)
    return [] if conf is None else list(conf.backends or ())


def _add(
    draft: Draft, backends: Iterable[Any], values: Values, source: Source, only: Draft | None = None
) -> None:
    for backend in backends:
        for config in hcm.managers(draft):
            _append(config, backend, HTTP_FORMAT, values, source, only)
        for config in hcm.tcp_proxies(draft):
            _append(config, backend, TCP_FORMAT, values, source, only)


def _append(
    config: Draft, backend: Any, default_format: str, values: Values, source: Source, only: Draft | None
) -> None:
    log = logger(backend, default_format, values, source)
    config.setdefault("access_log", []).append(log | {"filter": only} if only is not None else log)


# --- loggers -------------------------------------------------------------------------------------


def logger(backend: Any, default_format: str, values: Values, source: Source) -> Draft:
    """One AccessLog of Envoy."""
    match backend.type:
        case "File":
            return file_logger(backend.file.path, log_format(backend.file.format, default_format, values))
        case "Tcp":
            found = backend.tcp
            return file_logger(
                source.log_socket, wrapped_format(found.address, found.format, default_format, values)
            )
        case _:
            return _otel_logger(backend.open_telemetry, default_format, values, source)


def file_logger(path: str, fields: Draft) -> Draft:
    """A log that is written to a file, or to the socket of the runner."""
    return named("envoy.access_loggers.file", FILE, {"path": path, "log_format": fields})


def log_format(found: Any, default_format: str, values: Values) -> Draft:
    """A SubstitutionFormatString."""
    if found is not None and found.type == "Json":
        draft: Draft = {"json_format": Fields(_json(found, values))}
    else:
        text = plain_text(found, default_format, values)
        draft = {"text_format_source": {"inline_string": text}}
    return draft | _omission(found)


def wrapped_format(address: str, found: Any, default_format: str, values: Values) -> Draft:
    """A SubstitutionFormatString that tells the runner, too, to which collector a message goes."""
    is_json = found is not None and found.type == "Json"
    message = _json(found, values) if is_json else plain_text(found, default_format, values)
    return {"json_format": Fields({"address": address, "message": message})} | _omission(found)


def _omission(found: Any) -> Draft:
    return {"omit_empty_values": True} if found is not None and found.omit_empty_values else {}


def _json(found: Any, values: Values) -> dict[str, str]:
    return {item.key: filled(item.value, values) for item in found.json or ()}


def plain_text(found: Any, default_format: str, values: Values) -> str:
    """A format as one line."""
    text = default_format if found is None or not found.plain else found.plain
    return filled(text, values) + "\n"


def filled(text: str, values: Values) -> str:
    """A format with the placeholders of the mesh replaced."""
    if "%KUMA_" in text:
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
    return text


def _otel_logger(found: Any, default_format: str, values: Values, source: Source) -> Draft:
    cluster, collector = source.log_cluster(found.endpoint), otel_collector(found.endpoint)
    attributes = [
        {"key": attribute.key, "value": {"string_value": filled(attribute.value, values)}}
        for attribute in found.attributes or ()
    ]
    if found.body is None:
        body: Draft = {"string_value": filled(default_format, values)}
    else:
        body = any_value(found.body, lambda text: filled(text, values))
    fields: Draft = {"body": body, "attributes": {"values": attributes}}
    if collector.over_http:
        fields |= {"log_name": KIND, "http_service": http_service(collector, cluster, "logs")}
    else:
        service = {"envoy_grpc": {"cluster_name": cluster}}
        fields["common_config"] = {"log_name": KIND, "grpc_service": service, "transport_api_version": "V3"}
    return named("envoy.access_loggers.open_telemetry", OTEL, fields)
