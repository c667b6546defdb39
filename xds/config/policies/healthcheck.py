"""MeshHealthCheck: how the endpoints of a destination are probed.

The probe fits the protocol of the destination. Where the fitting one is missing or disabled, a TCP
probe takes its place if there is one.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

from xds.config import cluster
from xds.config.confs import conf_of
from xds.config.draft import Draft, duration, seconds, wrapped
from xds.config.percent import number
from xds.config.routes import header_option

if TYPE_CHECKING:
    from xds.config.external import External
    from xds.config.outbound import Backend

KIND = "MeshHealthCheck"
INTERVAL_S = 60
TIMEOUT_S = 15
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
    probe = _probe(conf, backend.protocol)
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
    for name in ("interval_jitter_percent", "event_log_path", "always_log_health_check_failures"):
        if getattr(conf, name) is not None:
            draft[name] = getattr(conf, name)
    cluster.set_wrapped(draft, "reuse_connection", conf.reuse_connection)
    return draft


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _duration_or(text: str | None, default_s: int) -> Draft:
    return seconds(default_s) if text is None else duration(text)


def _probe(conf: Any, protocol: str) -> Draft | None:
    if protocol in ("http", "http2") and conf.http is not None and not conf.http.disabled:
        return {"http_health_check": _http(conf.http, protocol)}
    if protocol == "grpc" and conf.grpc is not None and not conf.grpc.disabled:
        return {"grpc_health_check": _grpc(conf.grpc)}
    if conf.tcp is not None and not conf.tcp.disabled:
        return {"tcp_health_check": _tcp(conf.tcp)}
    return None


def _http(conf: Any, protocol: str) -> Draft:
    draft: Draft = {"path": conf.path or "/"}
    if protocol == "http2":
        draft["codec_client_type"] = "HTTP2"
    headers = conf.request_headers_to_add
    if headers is not None:
        draft["request_headers_to_add"] = [
            *(header_option(h.name, h.value, append=True) for h in headers.add or ()),
            *(header_option(h.name, h.value, append=False) for h in headers.set or ()),
        ]
    if conf.expected_statuses:
        statuses = [{"start": status, "end": status + 1} for status in conf.expected_statuses]
        draft["expected_statuses"] = statuses
    return draft


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
    """Base64 of the policy as the hexadecimal of Envoy. Raises ValueError with the text."""
    try:
        return base64.b64decode(text, validate=True).hex()
    except binascii.Error as error:
        raise ValueError(f"tcp health check: {text!r} is no base64: {error}") from None
