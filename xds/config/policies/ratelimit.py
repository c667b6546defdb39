"""MeshRateLimit: how much an inbound takes in, counted by each proxy for itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from xds.config import hcm
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, Typed, duration, named, wrapped
from xds.config.policies import callers
from xds.config.routes import header_option
from xds.proto import msg

if TYPE_CHECKING:
    from xds.config.gateway import GatewayListener
    from xds.config.inbound import Inbound
    from xds.config.zoneproxy import Chain

KIND = "MeshRateLimit"
HTTP_LIMIT = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
HTTP_FILTER = "envoy.filters.http.local_ratelimit"
NETWORK_LIMIT = "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit"
NETWORK_FILTER = NETWORK_LIMIT
_ALL = {"numerator": 100}
# What Envoy can answer here; with any other status it would refuse the whole listener, so those are answered 429.
_STATUSES = frozenset(
    msg("envoy.type.v3.HttpStatus").DESCRIPTOR.fields_by_name["code"].enum_type.values_by_number
) - {0}


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Limit the requests, the connections or both of an inbound."""
    _edit(draft, conf_of(KIND, inbound.confs), callers.rules_of(KIND, inbound.rules), inbound.callers_mesh)


def edit_zone_chain(draft: Draft, chain: Chain) -> None:
    """Limit the requests, the connections or both that leave through an egress for one server name."""
    _edit({"filter_chains": [draft]}, conf_of(KIND, chain.confs), callers.rules_of(KIND, chain.rules), "")


def _edit(draft: Draft, conf: Any, rules: Sequence[callers.Rule], mesh: str) -> None:
    for manager in hcm.managers(draft):
        if any(rule.match is not None for rule in rules):
            _limit_callers(manager, rules, mesh)
        elif conf is not None and _limits_requests(conf):
            hcm.insert_http_filter(manager, named(HTTP_FILTER, HTTP_LIMIT, {"stat_prefix": "rate_limit"}))
            for route in hcm.routes_of(manager):
                _limit_route(route, conf.local.http)
    if conf is not None and conf.local is not None:
        _limit_connections(draft, conf.local.tcp)


def _limit_callers(manager: Draft, rules: Iterable[callers.Rule], mesh: str) -> None:
    """A filter for each rule that limits requests; each has a bucket of its own."""
    for rule in rules:
        conf = rule.typed(KIND)
        if _limits_requests(conf):
            fields = _limit(conf.local.http)
            hcm.insert_http_filter(manager, callers.only_for(rule, HTTP_FILTER, HTTP_LIMIT, fields, mesh))


def edit_gateway_listener(draft: Draft, listener: GatewayListener) -> None:
    """Limit the connections of a port of a gateway; its requests are limited by route."""
    conf = conf_of(KIND, listener.to_confs)
    if conf is not None and conf.local is not None:
        _limit_connections(draft, conf.local.tcp)


def edit_gateway_route(draft: Draft, confs: KindConfs) -> None:
    """Limit the requests of a route of a gateway; the filter is there."""
    conf = conf_of(KIND, confs)
    if conf is not None and _limits_requests(conf):
        _limit_route(draft, conf.local.http)


def _limits_requests(conf: Any) -> bool:
    http = conf.local.http if conf.local is not None else None
    return http is not None and not http.disabled and http.request_rate is not None


def _limit_connections(draft: Draft, tcp: Any) -> None:
    if tcp is None or tcp.disabled or tcp.connection_rate is None:
        return
    fields = {"stat_prefix": "tcp_rate_limit", "token_bucket": _bucket(tcp.connection_rate)}
    for chain in draft["filter_chains"]:
        chain["filters"].insert(0, named(NETWORK_FILTER, NETWORK_LIMIT, fields))


def _limit_route(route: Draft, http: Any) -> None:
    route.setdefault("typed_per_filter_config", {})[HTTP_FILTER] = Typed(HTTP_LIMIT, _limit(http))


def _limit(http: Any) -> Draft:
    fields: Draft = {
        "stat_prefix": "rate_limit",
        "token_bucket": _bucket(http.request_rate),
        "filter_enabled": {"default_value": _ALL, "runtime_key": "local_rate_limit_enabled"},
        "filter_enforced": {"default_value": _ALL, "runtime_key": "local_rate_limit_enforced"},
    }
    answer = http.on_rate_limit
    if answer is not None and answer.status in _STATUSES:
        fields["status"] = {"code": answer.status}
    if answer is not None and answer.headers is not None:
        fields["response_headers_to_add"] = [
            *(header_option(h.name, h.value, append=True) for h in answer.headers.add or ()),
            *(
                header_option(h.name, value, append=False)
                for h in answer.headers.set or ()
                for value in h.value.split(",")
            ),
        ]
    return fields


def _bucket(rate: Any) -> Draft:
    return {
        "max_tokens": rate.num,
        "tokens_per_fill": wrapped(rate.num),
        "fill_interval": duration(rate.interval),
    }
