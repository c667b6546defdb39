"""MeshTimeout: connection timeouts on clusters, request and stream timeouts on routes.

Where no policy speaks, what is there stays. One that speaks decides all: for fields that it does not set
the defaults here hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mesh.policy.durations import parse_ns
from xds.config import cluster, hcm
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, copied, duration, duration_ns, seconds
from xds.config.facts import is_http
from xds.config.policies import callers

if TYPE_CHECKING:
    from xds.config.external import External
    from xds.config.gateway import GatewayListener
    from xds.config.inbound import Inbound
    from xds.config.outbound import Backend, Outbound
    from xds.config.routes import Route
    from xds.config.zoneproxy import Chain

KIND = "MeshTimeout"
_SECOND_NS = 1_000_000_000
_IDLE_NS = 3600 * _SECOND_NS
_REQUEST_NS = 15 * _SECOND_NS
_STREAM_IDLE_NS = 1800 * _SECOND_NS
# Who connects from outside the mesh gets less patience.
_GATEWAY_IDLE_NS = 300 * _SECOND_NS
_GATEWAY_HEADERS_NS = _SECOND_NS // 2
_GATEWAY_STREAM_IDLE_NS = 5 * _SECOND_NS


def edit_backend(draft: Draft, backend: Backend) -> None:
    """Timeouts of the connections to a destination."""
    _edit_cluster(draft, conf_of(KIND, backend.confs), backend.protocol)


def edit_inbound_cluster(draft: Draft, inbound: Inbound) -> None:
    """Timeouts of the connections to the application."""
    _edit_cluster(draft, conf_of(KIND, inbound.confs), inbound.facts.protocol)


def _edit_cluster(draft: Draft, conf: Any, protocol: str) -> None:
    if conf is not None and conf.connection_timeout is not None:
        draft["connect_timeout"] = duration(conf.connection_timeout)
    if is_http(protocol):
        http = conf.http if conf is not None else None
        cluster.set_common_http(
            draft,
            idle_timeout=_ns(conf, "idle_timeout", _IDLE_NS),
            max_connection_duration=_ns(http, "max_connection_duration", 0),
            max_stream_duration=_ns(http, "max_stream_duration", 0),
        )


def _ns(conf: Any, name: str, default: int) -> int:
    text = getattr(conf, name, None)
    return default if text is None else parse_ns(text)


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Timeouts of traffic from clients."""
    _edit_inbound(draft, conf_of(KIND, inbound.confs), callers.rules_of(KIND, inbound.rules))


def _edit_inbound(draft: Draft, conf: Any, rules: Sequence[callers.Rule]) -> None:
    if conf is not None:
        _edit_filters(draft, conf)
    for manager in hcm.managers(draft):
        for host in manager["route_config"]["virtual_hosts"]:
            common = host["routes"]
            host["routes"] = [_route_of(rule, route) for rule in rules for route in common if rule.match]
            host["routes"] += common
            for route in common if conf is not None else ():
                _edit_route(route, conf)


def _route_of(rule: callers.Rule, route: Draft) -> Draft:
    """A route for the callers of one rule. Only timeouts of requests can depend on who sends them."""
    own = copied(route)
    own["match"]["dynamic_metadata"] = [callers.noted(KIND, rule)]
    _edit_route(own, rule.typed(KIND))
    return own


def edit_zone_chain(draft: Draft, chain: Chain) -> None:
    """Timeouts of traffic that leaves through an egress."""
    conf = conf_of(KIND, chain.confs)
    listener = {"filter_chains": [draft]}
    _edit_inbound(listener, conf, callers.rules_of(KIND, chain.rules))
    if conf is not None:
        for manager in hcm.managers(listener):
            manager["common_http_protocol_options"] = {"idle_timeout": seconds(0)}


def edit_gateway_listener(draft: Draft, listener: GatewayListener) -> None:
    """Timeouts of traffic from outside the mesh."""
    conf = conf_of(KIND, listener.confs)
    if conf is None:
        return
    http = conf.http
    idle = duration_ns(_ns(conf, "idle_timeout", _GATEWAY_IDLE_NS))
    for proxy in hcm.tcp_proxies(draft):
        proxy["idle_timeout"] = idle
    for manager in hcm.managers(draft):
        manager["common_http_protocol_options"]["idle_timeout"] = idle
        headers_ns = _ns(http, "request_headers_timeout", _GATEWAY_HEADERS_NS)
        manager["request_headers_timeout"] = duration_ns(headers_ns)
        stream_ns = _ns(http, "stream_idle_timeout", _GATEWAY_STREAM_IDLE_NS)
        manager["stream_idle_timeout"] = duration_ns(stream_ns)
        if http is not None and http.request_timeout is not None:
            manager["request_timeout"] = duration(http.request_timeout)


def edit_external(draft: Draft, external: External) -> None:
    """Timeouts of the connections to a place outside the mesh."""
    _edit_cluster(draft, conf_of(KIND, external.confs), external.protocol)


def edit_outbound_listener(draft: Draft, outbound: Outbound) -> None:
    """Timeouts of traffic to a destination, but for those of its routes."""
    conf = conf_of(KIND, outbound.confs)
    if conf is not None:
        _edit_filters(draft, conf)


def _edit_filters(draft: Draft, conf: Any) -> None:
    for proxy in hcm.tcp_proxies(draft):
        proxy["idle_timeout"] = duration_ns(_ns(conf, "idle_timeout", _IDLE_NS))
    for manager in hcm.managers(draft):
        headers_ns = _ns(conf.http, "request_headers_timeout", 0)
        manager["request_headers_timeout"] = duration_ns(headers_ns)


def edit_route(draft: Draft, route: Route, outbound: Outbound) -> None:
    """Timeouts of the requests of one route: its own conf is merged over the destination's."""
    conf = _effective(route.confs, outbound.confs)
    if conf is not None:
        _edit_route(draft, conf)


def _effective(own: KindConfs, common: KindConfs) -> Any:
    return conf_of(KIND, own) or conf_of(KIND, common)


def _edit_route(draft: Draft, conf: Any) -> None:
    action = draft.get("route")
    if action is None:
        return
    action["timeout"] = duration_ns(_ns(conf.http, "request_timeout", _REQUEST_NS))
    if "idle_timeout" not in action or getattr(conf.http, "stream_idle_timeout", None) is not None:
        action["idle_timeout"] = duration_ns(_ns(conf.http, "stream_idle_timeout", _STREAM_IDLE_NS))
