"""MeshRetry: what is tried again when it failed, on routes, and on connections for plain TCP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mesh.policy.durations import parse_ns
from xds.config import hcm
from xds.config.confs import conf_of
from xds.config.draft import Draft, Fields, duration, duration_ns, named, seconds, wrapped
from xds.config.routes import header_matcher

if TYPE_CHECKING:
    from xds.config.outbound import Outbound
    from xds.config.routes import Route

KIND = "MeshRetry"
PREVIOUS_HOSTS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
OMIT_METADATA = "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig"
PREVIOUS_PRIORITIES = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
RATE_LIMITED_MAX_S = 300
DEFAULT_HTTP = "gateway-error,connect-failure,refused-stream"
DEFAULT_GRPC = "cancelled,connect-failure,gateway-error,refused-stream,reset,resource-exhausted,unavailable"
_CONDITIONS = {
    "5xx": "5xx",
    "GatewayError": "gateway-error",
    "Reset": "reset",
    "Retriable4xx": "retriable-4xx",
    "ConnectFailure": "connect-failure",
    "EnvoyRatelimited": "envoy-ratelimited",
    "RefusedStream": "refused-stream",
    "Http3PostConnectFailure": "http3-post-connect-failure",
    "Canceled": "cancelled",
    "DeadlineExceeded": "deadline-exceeded",
    "Internal": "internal",
    "ResourceExhausted": "resource-exhausted",
    "Unavailable": "unavailable",
}
_METHOD = "HttpMethod"


def edit_outbound_listener(draft: Draft, outbound: Outbound) -> None:
    """Attempts to connect, for traffic without requests."""
    conf = conf_of(KIND, outbound.confs)
    if conf is None or conf.tcp is None or conf.tcp.max_connect_attempt is None:
        return
    for proxy in hcm.tcp_proxies(draft):
        proxy["max_connect_attempts"] = wrapped(conf.tcp.max_connect_attempt)


def edit_route(draft: Draft, route: Route, outbound: Outbound) -> None:
    """Retries of the requests of one route; its own conf goes before the destination's."""
    conf = conf_of(KIND, route.confs) or conf_of(KIND, outbound.confs)
    action = draft.get("route")
    if conf is None or action is None:
        return
    found = conf.grpc if outbound.protocol == "grpc" else conf.http
    if found is not None and found.num_retries != 0:
        action["retry_policy"] = _grpc(found) if outbound.protocol == "grpc" else _http(found)


def _common(conf: Any) -> Draft:
    draft: Draft = {}
    if conf.num_retries is not None:
        draft["num_retries"] = wrapped(conf.num_retries)
    if conf.per_try_timeout is not None:
        draft["per_try_timeout"] = duration(conf.per_try_timeout)
    if conf.back_off is not None:
        draft["retry_back_off"] = _back_off(conf.back_off)
    if conf.rate_limited_back_off is not None:
        draft["rate_limited_retry_back_off"] = _rate_limited(conf.rate_limited_back_off)
    return draft


def _back_off(conf: Any) -> Draft:
    """The wait between attempts. Its parts may come from two policies, and Envoy refuses a limit below the base."""
    base_ns = parse_ns(conf.base_interval or "25ms")
    if conf.max_interval is None:
        return {"base_interval": duration_ns(base_ns)}
    max_ns = parse_ns(conf.max_interval)
    return {"base_interval": duration_ns(min(base_ns, max_ns)), "max_interval": duration_ns(max_ns)}


def _rate_limited(conf: Any) -> Draft:
    formats = {"Seconds": "SECONDS", "UnixTimestamp": "UNIX_TIMESTAMP"}
    headers = [{"name": h.name, "format": formats[h.format]} for h in conf.reset_headers or ()]
    longest = seconds(RATE_LIMITED_MAX_S) if conf.max_interval is None else duration(conf.max_interval)
    return {"reset_headers": headers, "max_interval": longest}


def _grpc(conf: Any) -> Draft:
    conditions = ",".join(_condition(text) for text in conf.retry_on or ())
    return _common(conf) | {"retry_on": conditions or DEFAULT_GRPC}


def _condition(text: str) -> str:
    return _CONDITIONS.get(text, text)


def _http(conf: Any) -> Draft:
    draft = _common(conf)
    conditions, codes, methods = _sorted_out(conf.retry_on or ())
    conditions = conditions or DEFAULT_HTTP.split(",")
    if codes:
        conditions.append("retriable-status-codes")
        draft["retriable_status_codes"] = codes
    if conf.retriable_response_headers:
        conditions.append("retriable-headers")  # without it Envoy would not look at them
        draft["retriable_headers"] = [_header(h) for h in conf.retriable_response_headers]
    draft["retry_on"] = ",".join(conditions)
    headers = [{"name": ":method", "string_match": {"exact": method}} for method in methods]
    headers += [_header(h) for h in conf.retriable_request_headers or ()]
    if headers:
        draft["retriable_request_headers"] = headers
    _host_selection(draft, conf)
    return draft


def _sorted_out(retry_on: Iterable[str]) -> tuple[list[str], list[int], list[str]]:
    """Conditions, status codes and methods: one list holds them all."""
    conditions: list[str] = []
    codes: list[int] = []
    methods: list[str] = []
    for text in retry_on:
        if text.isdecimal():
            codes.append(int(text))
        elif text.startswith(_METHOD):
            methods.append(text.removeprefix(_METHOD).upper())
        else:
            conditions.append(_condition(text))
    return conditions, codes, methods


def _header(header: Any) -> Draft:
    return header_matcher({"name": header.name, "type": header.type, "value": header.value or ""})


def _host_selection(draft: Draft, conf: Any) -> None:
    predicates = []
    for selection in conf.host_selection or ():
        if selection.predicate == "OmitPreviousHosts":
            predicates.append(named("envoy.retry_host_predicates.previous_hosts", PREVIOUS_HOSTS))
        elif selection.predicate == "OmitHostsWithTags":
            match = {"filter_metadata": {"envoy.lb": Fields(selection.tags or {})}}
            fields = {"metadata_match": match}
            predicates.append(named("envoy.retry_host_predicates.omit_host_metadata", OMIT_METADATA, fields))
        else:
            fields = {"update_frequency": selection.update_frequency}
            name = "envoy.retry_priorities.previous_priorities"
            draft["retry_priority"] = named(name, PREVIOUS_PRIORITIES, fields)
    if predicates:
        draft["retry_host_predicate"] = predicates
    if conf.host_selection_max_attempts is not None:
        draft["host_selection_retry_max_attempts"] = conf.host_selection_max_attempts
