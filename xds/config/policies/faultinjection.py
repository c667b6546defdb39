"""MeshFaultInjection: faults on purpose, each a filter of its own in front of the router.

For some clients only: by identity (`rules`) as in callers.py; by tags (`from`), the filter looks at a header
in which clients tell their tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from xds.config import hcm
from xds.config.confs import raw_conf
from xds.config.draft import Draft, duration, named
from xds.config.facts import Pairs
from xds.config.percent import fraction
from xds.config.policies import callers

if TYPE_CHECKING:
    from xds.config.gateway import GatewayListener
    from xds.config.inbound import Inbound
    from xds.config.outbound import Outbound
    from xds.config.zoneproxy import Chain

KIND = "MeshFaultInjection"
FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault"
FAULT_FILTER = "envoy.filters.http.fault"
TAGS_HEADER = "x-kuma-tags"
# Envoy refuses to end a request with an interim answer, and the whole listener with it: no such fault is injected.
STATUS_MIN = 200
_KBPS = {"k": 1, "M": 1_000, "G": 1_000_000}
_LIMIT = re.compile(r"(\d*)\s?([kMG])bps")

Json = Mapping[str, Any]


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Put the faults of an inbound into its HTTP connection managers."""
    text = dict(inbound.rules).get(KIND, "")
    found: Json = msgspec.json.decode(text) if text else {}
    rules = callers.rules_of(KIND, inbound.rules)
    for manager in hcm.managers(draft):
        _insert(manager, rules, inbound.callers_mesh)
        for rule in found.get("from") or ():
            for fault in rule["conf"].get("http") or ():
                fields = _fault(fault) | _by_tags(rule["tags"])
                hcm.insert_http_filter(manager, named(FAULT_FILTER, FAULT, fields))


def edit_gateway_listener(draft: Draft, listener: GatewayListener) -> None:
    """Put the faults of what a gateway sends into the mesh into its HTTP connection managers."""
    conf = raw_conf(KIND, listener.to_confs)
    for manager in hcm.managers(draft):
        for fault in (conf or {}).get("http") or ():
            hcm.insert_http_filter(manager, named(FAULT_FILTER, FAULT, _fault(fault)))


def edit_zone_chain(draft: Draft, chain: Chain) -> None:
    """Put the faults of what leaves through an egress for one server name into its connection manager."""
    rules = callers.rules_of(KIND, chain.rules)
    for manager in hcm.managers({"filter_chains": [draft]}):
        _insert(manager, rules, "")


def _insert(manager: Draft, rules: Iterable[callers.Rule], mesh: str) -> None:
    for rule in rules:
        for fault in rule.conf.get("http") or ():
            hcm.insert_http_filter(manager, callers.only_for(rule, FAULT_FILTER, FAULT, _fault(fault), mesh))


def _fault(fault: Json) -> Draft:
    draft: Draft = {}
    abort = fault.get("abort")
    if abort and abort["httpStatus"] >= STATUS_MIN:
        draft["abort"] = {"http_status": abort["httpStatus"], "percentage": fraction(abort["percentage"])}
    if delay := fault.get("delay"):
        draft["delay"] = {
            "fixed_delay": duration(delay["value"]),
            "percentage": fraction(delay["percentage"]),
        }
    if bandwidth := fault.get("responseBandwidth"):
        draft["response_rate_limit"] = {
            "fixed_limit": {"limit_kbps": kilobits(bandwidth["limit"])},
            "percentage": fraction(bandwidth["percentage"]),
        }
    return draft


def kilobits(limit: str) -> int:
    """A bandwidth such as "50Mbps" in kilobits per second. Raises ValueError with the text."""
    found = _LIMIT.fullmatch(limit)
    if found is None:
        raise ValueError(f"responseBandwidth.limit: {limit!r} is no bandwidth such as 50Mbps")
    return int(found[1] or 0) * _KBPS[found[2]]


# --- by tags -------------------------------------------------------------------------------------


def _by_tags(tags: Sequence[Json]) -> Draft:
    """Only requests of clients with these tags: one condition for those to have, one for each not to have."""
    wanted = {tag["key"]: tag["value"] for tag in tags if not tag.get("not")}
    headers = [_tagged(wanted)] if wanted else []
    unwanted = (tag for tag in tags if tag.get("not"))
    headers += [_tagged({tag["key"]: tag["value"]}) | {"invert_match": True} for tag in unwanted]
    return {"headers": headers} if headers else {}


def _tagged(tags: Mapping[str, str]) -> Draft:
    patterns = (f"&{key}={_value_pattern(tags[key])}.*" for key in sorted(tags))
    return {"name": TAGS_HEADER, "string_match": {"safe_regex": {"regex": ".*" + "".join(patterns)}}}


def _value_pattern(value: str) -> str:
    """Any of the values of a tag; of the characters that a tag may have, only the dot is special."""
    return "" if value == "*" else f"[^&]*{value}[,&]".replace(".", r"\.")


def edit_outbound_listener(draft: Draft, outbound: Outbound) -> None:
    """Tell our tags to servers, while some of them inject faults."""
    if not outbound.told_tags:
        return
    header = {"header": {"key": TAGS_HEADER, "value": tags_header(outbound.told_tags)}}
    for manager in hcm.managers(draft):
        manager["route_config"].setdefault("request_headers_to_add", []).append(header)


def tags_header(tags: Pairs) -> str:
    """Tags as one header: `&key=value,value&&key=value&`."""
    values: dict[str, list[str]] = {}
    for key, value in tags:
        values.setdefault(key, []).append(value)
    return "".join(f"&{key}={','.join(found)}&" for key, found in sorted(values.items()))
