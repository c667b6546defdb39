"""Where endpoints are, seen from a client: near ones first, by MeshLoadBalancingStrategy.

Inside the zone, endpoints that share a tag with the client (the same node, the same rack) get most of
the traffic, by weight. Other zones come later, in the order of the failover rules: rule *i* has
priority *i* + 1, and a zone that no rule names gets nothing. Envoy moves on when too few endpoints of a
priority are healthy; how few is the overprovisioning factor of the assignment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from xds.config.draft import serialized, wrapped
from xds.config.endpoints import Endpoint
from xds.config.facts import Pairs
from xds.config.percent import number
from xds.encode import LocalityEndpoints, encode_assignment
from xds.types import Encoded

ASSIGNMENT = "envoy.config.endpoint.v3.ClusterLoadAssignment"
FAILOVER_PERCENTAGE = 50
OTHERS_WEIGHT = 1

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a client is, and how it prefers what is near.

    awareness: JSON of `localityAwareness`, "" when no policy says anything. zone_first: without a
    policy, other zones only come when the own one cannot. crossing: the client has certificates, so it
    may be sent to other zones. tags: of the client.
    """

    zone: str = ""
    awareness: str = ""
    zone_first: bool = False
    crossing: bool = False
    tags: Pairs = ()


def placed_assignment(cluster: str, endpoints: Iterable[Endpoint], place: Place) -> Encoded:
    """The assignment of a cluster as a client at `place` should have it."""
    conf: Json = msgspec.json.decode(place.awareness) if place.awareness else {}
    aware = bool(place.awareness) and not conf.get("disabled")
    if not aware and not place.zone_first:
        return encode_assignment(cluster, by_zone(endpoints))
    groups: dict[tuple[int, str, str], list[Endpoint]] = {}
    weights: dict[str, int] = {}
    by_weight = bool((conf.get("localZone") or {}).get("affinityTags"))
    for endpoint in endpoints:
        priority = _priority(endpoint.zone, place.zone, conf)
        if priority is None:
            continue
        sub_zone = ""
        if priority == 0:
            sub_zone, weight = _affinity(endpoint, place, conf)
            weights[sub_zone] = weight
        groups.setdefault((priority, endpoint.zone, sub_zone), []).append(endpoint)
    localities = [
        LocalityEndpoints(
            tuple(endpoint.frame for endpoint in groups[priority, zone, sub_zone]),
            zone=zone,
            sub_zone=sub_zone,
            priority=priority,
            weight=(weights[sub_zone] if priority == 0 else OTHERS_WEIGHT)
            if by_weight or (priority == 0 and _says_where(conf))
            else None,
        )
        for priority, zone, sub_zone in sorted(groups)
    ]
    return encode_assignment(cluster, localities, _policy(conf))


def by_zone(endpoints: Iterable[Endpoint]) -> list[LocalityEndpoints]:
    """The endpoints by zone, zones in order, none before another."""
    zones: dict[str, list[bytes]] = {}
    for endpoint in endpoints:
        zones.setdefault(endpoint.zone, []).append(endpoint.frame)
    return [LocalityEndpoints(tuple(zones[zone]), zone) for zone in sorted(zones)]


# --- other zones ---------------------------------------------------------------------------------


def _priority(zone: str, own: str, conf: Json) -> int | None:
    """The priority of a zone; None when it gets no traffic. Proxies that name no zone are in the own one."""
    if zone in ("", own):
        return 0
    rules = (conf.get("crossZone") or {}).get("failover")
    if not rules:
        return 1
    for index, rule in enumerate(rules):
        if _is_from(rule, own) and _leads_to(rule["to"], zone):
            return index + 1
    return None


def _says_where(conf: Json) -> bool:
    """Whether a conf says more than that near endpoints come first."""
    return bool(conf.get("localZone") or conf.get("crossZone"))


def _is_from(rule: Json, own: str) -> bool:
    zones = (rule.get("from") or {}).get("zones")
    return zones is None or own in zones


def _leads_to(target: Json, zone: str) -> bool:
    zones = target.get("zones") or ()
    match target["type"]:
        case "Any":
            return True
        case "Only":
            return zone in zones
        case "AnyExcept":
            return zone not in zones
        case _:
            return False


def _policy(conf: Json) -> bytes:
    """The overprovisioning factor: Envoy fails over below 100/factor of healthy endpoints."""
    if not _says_where(conf):
        return b""
    given = ((conf.get("crossZone") or {}).get("failoverThreshold") or {}).get("percentage")
    threshold = number(FAILOVER_PERCENTAGE if given is None else given) or FAILOVER_PERCENTAGE
    factor = int(100 * 100 / threshold)
    return serialized(ASSIGNMENT, {"policy": {"overprovisioning_factor": wrapped(factor)}})


# --- inside the zone -----------------------------------------------------------------------------


def _affinity(endpoint: Endpoint, place: Place, conf: Json) -> tuple[str, int]:
    """The part of the zone that an endpoint is in, and that part's weight."""
    tags = (conf.get("localZone") or {}).get("affinityTags") or ()
    own, theirs = dict(place.tags), dict(endpoint.tags)
    for index, tag in enumerate(tags):
        key = tag["key"]
        if key in own and own[key] == theirs.get(key):
            return f"{key}={own[key]}", _weight(tags, index)
    return "", OTHERS_WEIGHT


def _weight(tags: Sequence[Json], index: int) -> int:
    """Nine tenths to the first tag, nine tenths of the rest to the next, …, unless weights are given."""
    weight = tags[index].get("weight")
    if weight is not None:
        return int(weight)
    return int(9 * 10 ** (len(tags) - 1 - index))
