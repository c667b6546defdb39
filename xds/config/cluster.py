"""Clusters: towards destinations, towards the application behind an inbound, and the fixed ones."""

from __future__ import annotations

from typing import Any

from xds.config.draft import (
    ADS,
    Draft,
    Typed,
    duration_ns,
    seconds,
    socket_address,
    stat_name,
    wrapped,
)
from xds.config.tls import UpstreamTls, upstream_socket

CLUSTER = "envoy.config.cluster.v3.Cluster"
HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
CONNECT_TIMEOUT_S = 5


def base(name: str, discovery: str) -> Draft:
    """What all clusters have in common. Remaining capacity is reported in the statistics."""
    draft: Draft = {
        "name": name,
        "type": discovery,
        "connect_timeout": seconds(CONNECT_TIMEOUT_S),
        "circuit_breakers": {"thresholds": [{"track_remaining": True}]},
    }
    if stat_name(name) != name:
        draft["alt_stat_name"] = stat_name(name)
    return draft


def eds(name: str, tls: UpstreamTls | None, *, http2: bool = True) -> Draft:
    """A cluster whose endpoints come over the stream. Proxies of the mesh speak HTTP/2 to each other."""
    draft = base(name, "EDS")
    draft["eds_cluster_config"] = {"eds_config": ADS}
    if tls is not None:
        draft["transport_socket"] = upstream_socket(tls)
    set_http_version(draft, http2=http2)
    return draft


def static(name: str, address: str, port: int) -> Draft:
    """A cluster with one endpoint."""
    draft = base(name, "STATIC")
    endpoint = {"endpoint": {"address": socket_address(address, port)}}
    draft["load_assignment"] = {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}
    return draft


def local(name: str, address: str, port: int, protocol: str, *, transparent: bool) -> Draft:
    """The application behind an inbound. With transparent proxying its connections come from an
    address that the redirection rules leave alone."""
    draft = static(name, address, port)
    if protocol in ("http2", "grpc"):
        set_http_version(draft, http2=True)
    elif protocol == "http":
        set_http_version(draft, http2=False)
    if transparent:
        draft["upstream_bind_config"] = source_address(6 if ":" in address else 4)
    return draft


def source_address(ip_version: int) -> Draft:
    """The local address of connections that must not be redirected again."""
    address = "127.0.0.6" if ip_version == 4 else "::6"
    return {"source_address": {"address": address, "port_value": 0}}


def passthrough(name: str, *, inbound_ip_version: int = 0) -> Draft:
    """Connections go where they were going. inbound_ip_version: set for traffic to this host."""
    draft = base(name, "ORIGINAL_DST") | {"lb_policy": "CLUSTER_PROVIDED"}
    if inbound_ip_version:
        draft["upstream_bind_config"] = source_address(inbound_ip_version)
    return draft


def nowhere(name: str) -> Draft:
    """A cluster without endpoints: connections to it are closed."""
    return base(name, "STATIC") | {"alt_stat_name": name}


# --- protocol options ----------------------------------------------------------------------------


def http_options(draft: Draft) -> Draft:
    """The HttpProtocolOptions of a cluster, made if absent, to be edited."""
    options = draft.setdefault("typed_extension_protocol_options", {})
    found: Draft = options.setdefault(HTTP_OPTIONS, Typed(HTTP_OPTIONS))
    return found


def set_http_version(draft: Draft, *, http2: bool) -> None:
    """Which HTTP a cluster speaks."""
    protocol = "http2_protocol_options" if http2 else "http_protocol_options"
    http_options(draft)["explicit_http_config"] = {protocol: {}}


def thresholds(draft: Draft) -> Draft:
    """The default circuit-breaker thresholds of a cluster, to be edited."""
    found: Draft = draft["circuit_breakers"]["thresholds"][0]
    return found


def set_common_http(draft: Draft, **durations_ns: int | None) -> None:
    """Set durations of commonHttpProtocolOptions (`idle_timeout`, …); None leaves one as it is."""
    common = http_options(draft).setdefault("common_http_protocol_options", {})
    for name, value in durations_ns.items():
        if value is not None:
            common[name] = duration_ns(value)


def set_wrapped(draft: Draft, name: str, value: Any) -> None:
    """Set a field that is a wrapped number or flag; None leaves it as it is."""
    if value is not None:
        draft[name] = wrapped(value)


def set_panic_threshold(draft: Draft, percentage: float) -> None:
    """Below which share of healthy endpoints a cluster ignores health altogether."""
    draft.setdefault("common_lb_config", {})["healthy_panic_threshold"] = {"value": percentage}
