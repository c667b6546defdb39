"""MeshRateLimit: how much an inbound takes in, counted by each proxy for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xds.config import hcm
from xds.config.confs import conf_of
from xds.config.draft import Draft, Typed, duration, named, wrapped
from xds.config.routes import header_option

if TYPE_CHECKING:
    from xds.config.inbound import Inbound

KIND = "MeshRateLimit"
HTTP_LIMIT = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
HTTP_FILTER = "envoy.filters.http.local_ratelimit"
NETWORK_LIMIT = "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit"
NETWORK_FILTER = "envoy.filters.network.local_ratelimit"
TOO_MANY_REQUESTS = 429
_ALL = {"numerator": 100}


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Limit requests where there are requests, connections otherwise."""
    conf = conf_of(KIND, inbound.confs)
    if conf is None or conf.local is None:
        return
    http, tcp = conf.local.http, conf.local.tcp
    if http is not None and not http.disabled and http.request_rate is not None:
        for manager in hcm.managers(draft):
            limit_requests(manager, http)
    if tcp is not None and not tcp.disabled and tcp.connection_rate is not None:
        fields = {"stat_prefix": "tcp_rate_limit", "token_bucket": _bucket(tcp.connection_rate)}
        for chain in draft["filter_chains"]:
            if any(found["name"] == hcm.TCP_PROXY_FILTER for found in chain["filters"]):
                chain["filters"].insert(0, named(NETWORK_FILTER, NETWORK_LIMIT, fields))


def limit_requests(manager: Draft, http: Any) -> None:
    """Limit the requests of every route of an HTTP connection manager."""
    limit = named(HTTP_FILTER, HTTP_LIMIT, {"stat_prefix": "rate_limit"})
    hcm.insert_http_filter(manager, limit)
    for route in hcm.routes_of(manager):
        route.setdefault("typed_per_filter_config", {})[HTTP_FILTER] = _route_limit(http)


def _route_limit(http: Any) -> Draft:
    fields: Draft = {
        "stat_prefix": "rate_limit",
        "token_bucket": _bucket(http.request_rate),
        "filter_enabled": {"default_value": _ALL, "runtime_key": "local_rate_limit_enabled"},
        "filter_enforced": {"default_value": _ALL, "runtime_key": "local_rate_limit_enforced"},
    }
    answer = http.on_rate_limit
    if answer is not None:
        fields["status"] = {"code": answer.status or TOO_MANY_REQUESTS}
        if answer.headers is not None:
            fields["response_headers_to_add"] = [
                *(header_option(h.name, h.value, append=False) for h in answer.headers.set or ()),
                *(header_option(h.name, h.value, append=True) for h in answer.headers.add or ()),
            ]
    return Typed(HTTP_LIMIT, fields)


def _bucket(rate: Any) -> Draft:
    return {
        "max_tokens": rate.num,
        "tokens_per_fill": wrapped(rate.num),
        "fill_interval": duration(rate.interval),
    }
