"""MeshHealthCheck: how the endpoints of a destination are probed.

The probe fits the protocol of the destination. Where the fitting one is disabled, a TCP probe takes its
place if there is one; where it is missing, nothing is probed. Requests carry the tags of the client, so
that a server that tells clients apart by them takes a probe for what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xds.config import cluster
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, duration, named, seconds, wrapped
from xds.config.facts import Pairs
from xds.config.percent import number
from xds.config.policies.faultinjection import TAGS_HEADER, tags_header
from xds.config.routes import header_option

if TYPE_CHECKING:
    from xds.config.external import External
    from xds.config.outbound import Backend

KIND = "MeshHealthCheck"
INTERVAL_S = 60
TIMEOUT_S = 15
EVENT_FILE = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink"
UNHEALTHY_THRESHOLD = 5
HEALTHY_THRESHOLD = 1


def edit_backend(draft: Draft, backend: Backend | External) -> None:
    """Health checks of a destination."""
    conf = conf_of(KIND, backend.confs)
    if conf is None:
        return
    if conf.healthy_panic_threshold is not None:
        cluster.set_panic_threshold(draft, number(conf.healthy_panic_threshold))
    if conf.fail_traffic_on_panic is not None:
        balancing = draft.setdefault("common_lb_config", {})
        balancing["zone_aware_lb_config"] = {"fail_traffic_on_panic": conf.fail_traffic_on_panic}
    probe = _probe(conf, backend.protocol, backend.told_tags)
    if probe is not None:
        draft["health_checks"] = [_common(conf) | probe]


def _common(conf: Any) -> Draft:
    draft: Draft = {
        "interval": _duration_or(conf.interval, INTERVAL_S),
        "timeout": _duration_or(conf.timeout, TIMEOUT_S),
        "unhealthy_threshold": wrapped(_or(conf.unhealthy_threshold, UNHEALTHY_THRESHOLD)),
        "healthy_threshold": wrapped(_or(conf.healthy_threshold, HEALTHY_THRESHOLD)),
    }
    for name in ("initial_jitter", "interval_jitter", "no_traffic_interval"):
        if getattr(conf, name) is not None:
            draft[name] = duration(getattr(conf, name))
    for name in ("interval_jitter_percent", "always_log_health_check_failures"):
        if getattr(conf, name) is not None:
            draft[name] = getattr(conf, name)
    if conf.event_log_path is not None:
        file = {"event_log_path": conf.event_log_path}
        draft["event_logger"] = [named("envoy.health_check.event_sinks.file", EVENT_FILE, file)]
    cluster.set_wrapped(draft, "reuse_connection", conf.reuse_connection)
    return draft


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _duration_or(text: str | None, default_s: int) -> Draft:
    return seconds(default_s) if text is None else duration(text)


def sends_requests(confs: KindConfs, protocol: str) -> bool:
    """Whether probes are HTTP requests, which tell the tags of the client."""
    conf = conf_of(KIND, confs)
    return (
        conf is not None
        and protocol in ("http", "http2")
        and conf.http is not None
        and not conf.http.disabled
    )


def _probe(conf: Any, protocol: str, tags: Pairs) -> Draft | None:
    fitting = conf.http if protocol in ("http", "http2") else conf.grpc if protocol == "grpc" else None
    if fitting is not None and not fitting.disabled:
        if protocol == "grpc":
            return {"grpc_health_check": _grpc(fitting)}
        return {"http_health_check": _http(fitting, protocol, tags)}
    if (fitting is not None or protocol == "tcp") and conf.tcp is not None and not conf.tcp.disabled:
        return {"tcp_health_check": _tcp(conf.tcp)}
    return None


def _http(conf: Any, protocol: str, tags: Pairs) -> Draft:
    draft: Draft = {"path": conf.path or "/"}
    if protocol == "http2":
        draft["codec_client_type"] = "HTTP2"
    headers = [header_option(TAGS_HEADER, tags_header(tags), append=True)] if tags else []
    added = conf.request_headers_to_add
    if added is not None:
        headers += [each for header in added.add or () for each in _headers(header, append=True)]
        headers += [each for header in added.set or () for each in _headers(header, append=False)]
    if headers:
        draft["request_headers_to_add"] = headers
    if conf.expected_statuses:
        statuses = [{"start": status, "end": status + 1} for status in conf.expected_statuses]
        draft["expected_statuses"] = statuses
    return draft


def _headers(header: Any, *, append: bool) -> list[Draft]:
    """A header for each of its values, which commas separate."""
    return [header_option(header.name, value, append=append) for value in header.value.split(",")]


def _grpc(conf: Any) -> Draft:
    found = {"service_name": conf.service_name, "authority": conf.authority}
    return {name: value for name, value in found.items() if value}


def _tcp(conf: Any) -> Draft:
    draft: Draft = {}
    if conf.send is not None:
        draft["send"] = {"text": _hex(conf.send)}
    if conf.receive:
        draft["receive"] = [{"text": _hex(text)} for text in conf.receive]
    return draft


def _hex(text: str) -> str:
    """The bytes of a text, as Envoy takes them."""
    return text.encode().hex()
