"""MeshLoadBalancingStrategy: the algorithm on clusters, and what is hashed on routes.

Preferences by place (zones, affinity tags) are part of the assignment: localities.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from xds.config import cluster, hcm
from xds.config.confs import KindConfs, conf_of
from xds.config.draft import Draft, duration, wrapped
from xds.config.percent import number

if TYPE_CHECKING:
    from xds.config.external import External
    from xds.config.outbound import Backend, Outbound
    from xds.config.routes import Route

KIND = "MeshLoadBalancingStrategy"
_HASH_FUNCTIONS = {"XXHash": "XX_HASH", "MurmurHash2": "MURMUR_HASH_2"}


def edit_backend(draft: Draft, backend: Backend | External) -> None:
    """The algorithm of a destination."""
    conf = conf_of(KIND, backend.confs)
    if conf is None:
        return
    awareness = conf.locality_awareness
    local = awareness.local_zone if awareness is not None and not awareness.disabled else None
    if local is not None and local.affinity_tags:
        draft.setdefault("common_lb_config", {})["locality_weighted_lb_config"] = {}
    if conf.load_balancer is None:
        return
    balancer = conf.load_balancer
    match balancer.type:
        case "RoundRobin":
            draft["lb_policy"] = "ROUND_ROBIN"
        case "Random":
            draft["lb_policy"] = "RANDOM"
        case "LeastRequest":
            _least_request(draft, balancer.least_request)
        case "RingHash":
            _ring_hash(draft, balancer.ring_hash)
        case "Maglev":
            draft["lb_policy"] = "MAGLEV"
            if balancer.maglev is not None and balancer.maglev.table_size is not None:
                draft["maglev_lb_config"] = {"table_size": wrapped(balancer.maglev.table_size)}


def _least_request(draft: Draft, conf: Any) -> None:
    draft["lb_policy"] = "LEAST_REQUEST"
    if conf is None:
        return
    found: Draft = {}
    cluster.set_wrapped(found, "choice_count", conf.choice_count)
    if conf.active_request_bias is not None:
        bias = {"default_value": number(conf.active_request_bias), "runtime_key": "least_request_bias"}
        found["active_request_bias"] = bias
    if found:
        draft["least_request_lb_config"] = found


def _ring_hash(draft: Draft, conf: Any) -> None:
    draft["lb_policy"] = "RING_HASH"
    if conf is None:
        return
    found: Draft = {}
    if conf.hash_function is not None:
        found["hash_function"] = _HASH_FUNCTIONS[conf.hash_function]
    smallest = conf.min_ring_size
    if smallest is not None and conf.max_ring_size is not None:
        smallest = min(
            smallest, conf.max_ring_size
        )  # two policies may have said it; Envoy refuses more than the largest
    cluster.set_wrapped(found, "minimum_ring_size", smallest)
    cluster.set_wrapped(found, "maximum_ring_size", conf.max_ring_size)
    draft["ring_hash_lb_config"] = found


def edit_route(draft: Draft, route: Route, outbound: Outbound) -> None:
    """What the requests of one route are hashed by; its own conf goes before the destination's."""
    action = draft.get("route")
    policies = _hash_policies(route.confs) or _hash_policies(outbound.confs)
    if action is not None and policies:
        action["hash_policy"] = [_hash_policy(policy) for policy in policies]


def edit_outbound_listener(draft: Draft, outbound: Outbound) -> None:
    """Connections can only be hashed by where they come from."""
    if any(policy.type in ("Connection", "SourceIP") for policy in _hash_policies(outbound.confs)):
        for proxy in hcm.tcp_proxies(draft):
            proxy["hash_policy"] = [{"source_ip": {}}]


def _hash_policies(confs: KindConfs) -> list[Any]:
    """The hash policies of a conf; those inside the algorithm are its older place."""
    conf = conf_of(KIND, confs)
    if conf is None:
        return []
    if conf.hash_policies is not None:
        return list(conf.hash_policies)
    balancer = conf.load_balancer
    found: Iterable[Any] = ()
    if balancer is not None and balancer.type == "RingHash" and balancer.ring_hash is not None:
        found = balancer.ring_hash.hash_policies or ()
    elif balancer is not None and balancer.type == "Maglev" and balancer.maglev is not None:
        found = balancer.maglev.hash_policies or ()
    return list(found)


def _hash_policy(policy: Any) -> Draft:
    draft: Draft = {"terminal": True} if policy.terminal else {}
    match policy.type:
        case "Header":
            draft["header"] = {"header_name": policy.header.name}
        case "Cookie":
            draft["cookie"] = _cookie(policy.cookie)
        case "QueryParameter":
            draft["query_parameter"] = {"name": policy.query_parameter.name}
        case "FilterState":
            draft["filter_state"] = {"key": policy.filter_state.key}
        case _:
            by_address = policy.connection is None or policy.connection.source_ip is not False
            draft["connection_properties"] = {"source_ip": by_address}
    return draft


def _cookie(cookie: Any) -> Draft:
    draft: Draft = {"name": cookie.name}
    if cookie.path is not None:
        draft["path"] = cookie.path
    if cookie.ttl is not None:
        draft["ttl"] = duration(cookie.ttl)
    return draft
