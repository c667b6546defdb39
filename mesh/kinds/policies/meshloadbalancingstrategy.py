"""MeshLoadBalancingStrategy: which endpoint a request goes to, and in which zone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Duration, IntOrString, Kind, Model, UInt32
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import TargetRef
from mesh.reader import Reader
from mesh.resource import Resource

NonEmpty = Annotated[str, Meta(min_length=1)]


class Named(Model):
    """A header or query parameter."""

    name: NonEmpty


class Cookie(Model):
    """A cookie, which is made when absent if it has a time to live."""

    name: NonEmpty
    path: str | None = None
    ttl: Duration | None = None


class Connection(Model):
    """The connection's source address."""

    source_ip: bool | None = msgspec.field(default=None, name="sourceIP")


class FilterState(Model):
    """A value that a filter left behind."""

    key: NonEmpty


class HashPolicy(Model):
    """What requests are hashed by; `type` tells which field is set."""

    type: Literal["Header", "Cookie", "Connection", "SourceIP", "QueryParameter", "FilterState"]
    terminal: bool | None = None
    header: Named | None = None
    cookie: Cookie | None = None
    connection: Connection | None = None
    query_parameter: Named | None = None
    filter_state: FilterState | None = None


class RoundRobin(Model):
    """One after the other."""


class Random(Model):
    """Any."""


class LeastRequest(Model):
    """The least busy of some picked at random."""

    choice_count: Annotated[int, Meta(ge=2, le=2**32 - 1)] | None = None
    active_request_bias: IntOrString | None = None


class RingHash(Model):
    """Consistent hashing on a ring."""

    hash_function: Literal["XXHash", "MurmurHash2"] | None = None
    min_ring_size: Annotated[int, Meta(ge=1, le=8_000_000)] | None = None
    max_ring_size: Annotated[int, Meta(ge=1, le=8_000_000)] | None = None
    hash_policies: tuple[HashPolicy, ...] | None = None


class Maglev(Model):
    """Consistent hashing by Google's Maglev; the table size must be prime."""

    table_size: Annotated[int, Meta(ge=1, le=5_000_011)] | None = None
    hash_policies: tuple[HashPolicy, ...] | None = None


class LoadBalancer(Model):
    """The algorithm; `type` tells which field is read."""

    type: Literal["RoundRobin", "LeastRequest", "RingHash", "Random", "Maglev"]
    round_robin: RoundRobin | None = None
    least_request: LeastRequest | None = None
    ring_hash: RingHash | None = None
    random: Random | None = None
    maglev: Maglev | None = None


class AffinityTag(Model):
    """Endpoints with the same value of this tag as the client's are preferred, by weight."""

    key: str
    weight: UInt32 | None = None


class LocalZone(Model):
    """Preferences inside the zone."""

    affinity_tags: tuple[AffinityTag, ...] | None = None


class FromZone(Model):
    """The zones whose clients a rule is for."""

    zones: tuple[str, ...]


class ToZone(Model):
    """The zones to which clients turn next."""

    type: Literal["None", "Only", "Any", "AnyExcept"]
    zones: tuple[str, ...] | None = None


class Failover(Model):
    """Where clients go when their zone cannot serve them."""

    to: ToZone
    from_: FromZone | None = msgspec.field(default=None, name="from")


class FailoverThreshold(Model):
    """The share of healthy endpoints below which traffic moves on."""

    percentage: IntOrString


class CrossZone(Model):
    """Traffic to other zones."""

    failover: tuple[Failover, ...] | None = None
    failover_threshold: FailoverThreshold | None = None


class LocalityAwareness(Model):
    """Whether near endpoints are preferred."""

    disabled: bool | None = None
    local_zone: LocalZone | None = None
    cross_zone: CrossZone | None = None


class Conf(Model):
    """Choice of endpoints."""

    locality_awareness: LocalityAwareness | None = None
    load_balancer: LoadBalancer | None = None
    hash_policies: tuple[HashPolicy, ...] | None = None


class To(Model):
    """Choice of the endpoints of one destination."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class MeshLoadBalancingStrategy(Model):
    """Load balancing of the selected proxies."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()


_ROUTE_REASON = "field is not allowed when targetRef.kind is MeshHTTPRoute, only hashPolicies is supported"


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshLoadBalancingStrategy = resource.spec
    top = checks.top_kind(spec.target_ref)
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", checks.SYSTEM_TOP)
    for index, outlet in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from _to_ref(outlet, top, f"{path}.targetRef")
        yield from _conf(outlet.default, outlet.target_ref, top, f"{path}.default")


def _to_ref(outlet: To, top: str, path: str) -> Errors:
    ref = outlet.target_ref
    if top == "MeshGateway" and outlet.default.load_balancer is not None and ref.kind not in _GATEWAY_TO:
        text = f"value '{top}' is not supported, only Mesh is allowed if loadBalancer is set"
        yield FieldError(f"{path}.kind", text)
        return
    yield from checks.target_ref(ref, path, ("Mesh", "MeshService", "MeshMultiZoneService", "MeshHTTPRoute"))


_GATEWAY_TO = ("Mesh",)


def _conf(conf: Conf, ref: TargetRef, top: str, path: str) -> Errors:
    if ref.kind == "MeshHTTPRoute":
        if conf.load_balancer is not None:
            yield FieldError(f"{path}.loadBalancer", _ROUTE_REASON)
        if conf.locality_awareness is not None:
            yield FieldError(f"{path}.localityAwareness", _ROUTE_REASON)
    if conf.locality_awareness is not None:
        yield from _locality(conf.locality_awareness, ref, f"{path}.localityAwareness")
    if conf.load_balancer is not None:
        yield from _balancer(conf.load_balancer, f"{path}.loadBalancer", conf.hash_policies is not None)
    yield from _hash_policies(conf.hash_policies or (), f"{path}.hashPolicies")


def _locality(locality: LocalityAwareness, ref: TargetRef, path: str) -> Errors:
    if locality.local_zone is not None:
        affinity = locality.local_zone.affinity_tags or ()
        yield from _affinity(affinity, f"{path}.localZone.affinityTags")
    if (cross := locality.cross_zone) is None:
        return
    at = f"{path}.crossZone"
    if ref.kind == "MeshService" and (ref.section_name or ref.namespace or ref.labels):
        yield FieldError(at, "must not be set: MeshService traffic is local")
    for index, failover in enumerate(cross.failover or ()):
        yield from _failover(failover, f"{at}.failover[{index}]")
    if cross.failover_threshold is not None:
        yield from _threshold(cross.failover_threshold.percentage, f"{at}.failoverThreshold.percentage")


def _affinity(affinity: Sequence[AffinityTag], path: str) -> Errors:
    weighted = sum(tag.weight is not None for tag in affinity)
    for index, tag in enumerate(affinity):
        if not tag.key:
            yield FieldError(f"{path}[{index}].key", checks.NOT_EMPTY)
        yield from checks.greater_than_zero(tag.weight, f"{path}[{index}].weight")
    if 0 < weighted < len(affinity):
        yield FieldError(path, "all or none affinity tags should have weight")


def _failover(failover: Failover, path: str) -> Errors:
    if failover.from_ is not None:
        if not failover.from_.zones:
            yield FieldError(f"{path}.from.zones", checks.NOT_EMPTY)
        for index, zone in enumerate(failover.from_.zones):
            if not zone:
                yield FieldError(f"{path}.from.zones[{index}]", checks.NOT_EMPTY)
    kind, zones = failover.to.type, failover.to.zones
    if kind in ("None", "Any") and zones:
        yield FieldError(f"{path}.to.zones", f"must be empty when type is {kind}")
    if kind in ("Only", "AnyExcept") and not zones:
        yield FieldError(f"{path}.to.zones", f"must not be empty when type is {kind}")


def _threshold(value: int | str, path: str) -> Errors:
    number = checks.number_of(value)
    if number is None:
        yield FieldError(path, "string must be a valid number")
    elif number <= 0:
        yield FieldError(path, "must be greater than 0")
    elif number > 100:
        yield FieldError(path, "must be in inclusive range [0.0, 100.0]")


def _balancer(balancer: LoadBalancer, path: str, has_root: bool) -> Errors:
    if balancer.least_request is not None and balancer.least_request.active_request_bias is not None:
        number = checks.number_of(balancer.least_request.active_request_bias)
        at = f"{path}.leastRequest.activeRequestBias"
        if number is None:
            yield FieldError(at, "string must be a valid number")
        elif number < 0:
            yield FieldError(at, "must be greater or equal then: 0")
    for conf, name in ((balancer.ring_hash, "ringHash"), (balancer.maglev, "maglev")):
        if conf is None or conf.hash_policies is None:
            continue
        at = f"{path}.{name}.hashPolicies"
        if has_root:
            yield FieldError(at, "hashPolicies already specified in the root level")
        yield from _hash_policies(conf.hash_policies, at)


_HASHED_BY = {
    "Header": ("header", "header"),
    "Cookie": ("cookie", "cookie"),
    "Connection": ("connection", "connection"),
    "SourceIP": ("connection", "connection"),
    "QueryParameter": ("query_parameter", "queryParameter"),
    "FilterState": ("filter_state", "filterState"),
}


def _hash_policies(policies: Sequence[HashPolicy], path: str) -> Errors:
    for index, policy in enumerate(policies):
        attribute, name = _HASHED_BY[policy.type]
        at = f"{path}[{index}].{name}"
        if getattr(policy, attribute) is None:
            yield FieldError(at, checks.DEFINED)
        elif policy.cookie and policy.cookie.path and not policy.cookie.path.startswith("/"):
            yield FieldError(f"{at}.path", "must be an absolute path")


KIND = Kind(
    name="MeshLoadBalancingStrategy",
    scope="mesh",
    path="meshloadbalancingstrategies",
    spec_type=MeshLoadBalancingStrategy,
    arg="meshloadbalancingstrategy",
    arg_aliases=("meshloadbalancingstrategies",),
    singular="Mesh Load Balancing Strategy",
    plural="Mesh Load Balancing Strategies",
    short="mlbs",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    order=400,
    validate=validate,
    warn=checks.deprecations,
    description="Which endpoint a request goes to, and in which zone.",
)
