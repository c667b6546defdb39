"""MeshRateLimit: how much a proxy takes in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Duration, Kind, Model, UInt32
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import Match, TargetRef
from mesh.kinds.policies.limits import RATE_INTERVAL_MIN_NS
from mesh.kinds.policies.meshhealthcheck import HeadersToAdd
from mesh.reader import Reader
from mesh.resource import Resource


class Rate(Model):
    """So many per interval."""

    num: UInt32
    interval: Duration


class OnRateLimit(Model):
    """The answer to what is too much."""

    status: UInt32 | None = None
    headers: HeadersToAdd | None = None


class Http(Model):
    """Limit of HTTP requests."""

    disabled: bool | None = None
    request_rate: Rate | None = None
    on_rate_limit: OnRateLimit | None = None


class Tcp(Model):
    """Limit of connections."""

    disabled: bool | None = None
    connection_rate: Rate | None = None


class Local(Model):
    """Limits that each proxy keeps for itself."""

    http: Http | None = None
    tcp: Tcp | None = None


class Conf(Model):
    """Rate limits."""

    local: Local | None = None


class To(Model):
    """Limits of a gateway."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class From(Model):
    """Limits of traffic that comes in."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class Rule(Model):
    """Limits of traffic that comes in, of some clients or of all."""

    matches: tuple[Match, ...] | None = None
    default: Conf = msgspec.field(default_factory=Conf)


class MeshRateLimit(Model):
    """Rate limits of the selected proxies."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()
    from_: tuple[From, ...] = msgspec.field(default=(), name="from")
    rules: tuple[Rule, ...] = ()


_GATEWAY_FROM = (
    "must not be defined when the scope includes a Gateway, select only proxyType Sidecar or select only "
    "gateways and use spec.to"
)


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshRateLimit = resource.spec
    ref = spec.target_ref
    supported = checks.top_kinds(resource, "MeshHTTPRoute")
    inbound = bool(spec.from_ or spec.rules) and not spec.to
    yield from checks.target_ref(ref, "spec.targetRef", supported, inbound=inbound)
    yield from checks.lists(spec)
    gateways = checks.includes_gateways(ref)
    if spec.to and not gateways:
        yield FieldError("spec.to", checks.NOT_DEFINED)
    if spec.from_ and gateways:
        yield FieldError("spec.from", _GATEWAY_FROM)
    if spec.rules and checks.only_gateways(ref):
        yield FieldError("spec.rules", checks.NOT_DEFINED)
    for index, inlet in enumerate(spec.from_):
        yield from checks.target_ref(inlet.target_ref, f"spec.from[{index}].targetRef", ("Mesh",))
        yield from _conf(inlet.default, f"spec.from[{index}].default")
    for index, outlet in enumerate(spec.to):
        yield from checks.target_ref(outlet.target_ref, f"spec.to[{index}].targetRef", ("Mesh",))
        yield from _conf(outlet.default, f"spec.to[{index}].default")
    for index, rule in enumerate(spec.rules):
        path = f"spec.rules[{index}]"
        yield from checks.matches(rule.matches, path)
        yield from _conf(rule.default, f"{path}.default")
        if checks.by_identity(rule.matches) and rule.default.local and rule.default.local.tcp is not None:
            yield FieldError(f"{path}.default.local.tcp", checks.NOT_BY_IDENTITY)


def _conf(conf: Conf, path: str) -> Errors:
    at = f"{path}.local"
    if conf.local is None:
        yield FieldError(at, checks.DEFINED)
        return
    http, tcp = conf.local.http, conf.local.tcp
    if http is None and tcp is None:
        yield FieldError(at, "must have at least one defined: tcp, http")
    if tcp is not None:
        if tcp.disabled is None and tcp.connection_rate is None:
            yield FieldError(f"{at}.tcp", "must have at least one defined: disabled, connectionRate")
        yield from _rate(tcp.connection_rate, f"{at}.tcp.connectionRate")
    if http is not None:
        if http.disabled is None and http.request_rate is None and http.on_rate_limit is None:
            text = "must have at least one defined: disabled, requestRate, onRateLimit"
            yield FieldError(f"{at}.http", text)
        yield from _rate(http.request_rate, f"{at}.http.requestRate")


def _rate(rate: Rate | None, path: str) -> Errors:
    if rate is None:
        return
    yield from checks.greater_than_zero(rate.num, f"{path}.num")
    if (checks.duration_ns(rate.interval) or 0) <= RATE_INTERVAL_MIN_NS:
        yield FieldError(f"{path}.interval", "must be greater than: 50ms")


def _warn(resource: Resource) -> Iterator[str]:
    yield from checks.deprecations(resource)
    spec: MeshRateLimit = resource.spec
    inbound: dict[str, Sequence[From | Rule]] = {"from": spec.from_, "rules": spec.rules}
    for name, entries in inbound.items():
        for number, entry in enumerate(entries):
            http = entry.default.local.http if entry.default.local is not None else None
            answer = http.on_rate_limit if http is not None else None
            if answer is not None and answer.status is not None and answer.status < 400:
                path = f"spec.{name}[{number}].default.local.http.requestRate.status"
                yield f"'{path}' must be 400 or higher. Please update your configuration."


KIND = Kind(
    name="MeshRateLimit",
    scope="mesh",
    path="meshratelimits",
    spec_type=MeshRateLimit,
    arg="meshratelimit",
    singular="Mesh Rate Limit",
    plural="Mesh Rate Limits",
    short="mrl",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    has_from=True,
    has_rules=True,
    from_is_rules=True,
    order=900,
    validate=validate,
    warn=_warn,
    description="How much a proxy takes in.",
)
