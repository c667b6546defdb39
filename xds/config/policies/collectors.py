"""Collectors of telemetry: their addresses, and the names of the clusters that lead to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from xds.config.draft import Draft, seconds
from xds.config.otelrefs import OVER_HTTP

OTEL_PORT = 4317
ZIPKIN_PORT = 9411
TIMEOUT_S = 10
DATADOG_PORT = 8126


class Collector(NamedTuple):
    """Where telemetry goes. over_http: OTLP in HTTP requests, below `path`, in the place of gRPC."""

    host: str
    port: int
    path: str = ""
    over_http: bool = False

    @property
    def name(self) -> str:
        """The address as part of a resource's name."""
        return f"{self.host}-{self.port}"


def otel_collector(endpoint: str) -> Collector:
    """The collector at "host:port", "host" or a URL."""
    text = endpoint if "://" in endpoint else f"//{endpoint}"
    parts = urlsplit(text)
    return Collector(parts.hostname or "", parts.port or OTEL_PORT, parts.path, parts.scheme == OVER_HTTP)


def http_service(collector: Collector, cluster: str, signal: str) -> Draft:
    """An HttpService for one signal ("traces", "logs") of a collector that speaks OTLP over HTTP."""
    host = f"[{collector.host}]" if ":" in collector.host else collector.host
    uri = f"http://{host}:{collector.port}{collector.path.rstrip('/')}/v1/{signal}"
    return {"http_uri": {"uri": uri, "cluster": cluster, "timeout": seconds(TIMEOUT_S)}}


def http_collector(url: str, default_port: int) -> Collector:
    """The collector at a URL."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, default_port)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return Collector(parts.hostname or "", port, path)


def any_value(value: Any, fill: Callable[[str], str]) -> Draft:
    """A JSON value as an OpenTelemetry AnyValue, its texts filled in.

    A value that is written as AnyValue already (`{"kvlistValue": …}`) is taken as such.
    """
    if isinstance(value, str):
        return {"string_value": fill(value)}
    if isinstance(value, bool):
        return {"bool_value": value}
    if isinstance(value, int):
        return {"int_value": value}
    if isinstance(value, float):
        return {"double_value": value}
    if isinstance(value, list):
        return {"array_value": {"values": [any_value(item, fill) for item in value]}}
    if isinstance(value, Mapping):
        return _mapping(value, fill)
    return {}


_SCALARS: Mapping[str, tuple[Callable[[Any], Any], str]] = {
    "boolValue": (bool, "bool_value"),
    "intValue": (int, "int_value"),
    "doubleValue": (float, "double_value"),
}


def _mapping(value: Mapping[str, Any], fill: Callable[[str], str]) -> Draft:
    if len(value) == 1:
        (key, inner), *_ = value.items()
        if key == "stringValue":
            return {"string_value": fill(str(inner))}
        if key in _SCALARS:
            kind, name = _SCALARS[key]
            return {name: kind(inner)}
        if key == "kvlistValue":
            pairs = inner.get("values") or []
            found = [{"key": pair["key"], "value": any_value(pair["value"], fill)} for pair in pairs]
            return {"kvlist_value": {"values": found}}
        if key == "arrayValue":
            values = inner.get("values") or []
            return {"array_value": {"values": [any_value(item, fill) for item in values]}}
    found = [{"key": str(key), "value": any_value(inner, fill)} for key, inner in value.items()]
    return {"kvlist_value": {"values": found}}
