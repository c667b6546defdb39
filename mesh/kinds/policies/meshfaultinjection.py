"""MeshFaultInjection: faults on purpose, to see how clients take them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Duration, Int32, IntOrString, Kind, Model
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import Match, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class Abort(Model):
    """Answers with a status in the place of the service."""

    http_status: Int32
    percentage: IntOrString


class Delay(Model):
    """Holds requests back."""

    value: Duration
    percentage: IntOrString


class ResponseBandwidth(Model):
    """Slows answers down, e.g. to "50Mbps"."""

    limit: str
    percentage: IntOrString


class Fault(Model):
    """Faults of HTTP requests."""

    abort: Abort | None = None
    delay: Delay | None = None
    response_bandwidth: ResponseBandwidth | None = None


class Conf(Model):
    """Faults, each taken on its own."""

    http: tuple[Fault, ...] | None = None


class To(Model):
    """Faults at a gateway."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class From(Model):
    """Faults for some clients."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class Rule(Model):
    """Faults for some clients or for all."""

    default: Conf
    matches: tuple[Match, ...] | None = None


class MeshFaultInjection(Model):
    """Faults at the selected proxies."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()
    from_: tuple[From, ...] = msgspec.field(default=(), name="from")
    rules: tuple[Rule, ...] = ()


_FROM = ("Mesh", "MeshSubset", "MeshService", "MeshServiceSubset")
_BANDWIDTH = re.compile(r"\d*\s?[kMG]bps")
_GATEWAY_FROM = (
    "must not be defined when the scope includes a Gateway, select only proxyType Sidecar or select only "
    "gateways and use spec.to"
)


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshFaultInjection = resource.spec
    ref = spec.target_ref
    inbound = bool(spec.from_ or spec.rules) and not spec.to
    yield from checks.target_ref(ref, "spec.targetRef", checks.top_kinds(resource), inbound=inbound)
    yield from checks.lists(spec)
    if spec.to and not checks.includes_gateways(ref):
        yield FieldError("spec.to", checks.NOT_DEFINED)
    if spec.from_ and checks.includes_gateways(ref):
        yield FieldError("spec.from", _GATEWAY_FROM)
    for index, inlet in enumerate(spec.from_):
        yield from checks.target_ref(inlet.target_ref, f"spec.from[{index}].targetRef", _FROM)
        yield from _faults(inlet.default.http or (), f"spec.from[{index}].default.http")
    for index, outlet in enumerate(spec.to):
        yield from checks.target_ref(outlet.target_ref, f"spec.to[{index}].targetRef", ("Mesh",))
        yield from _faults(outlet.default.http or (), f"spec.to[{index}].default.http")
    for index, rule in enumerate(spec.rules):
        yield from checks.matches(rule.matches, f"spec.rules[{index}]")
        yield from _faults(rule.default.http or (), f"spec.rules[{index}].default.http")


def _faults(faults: Sequence[Fault], path: str) -> Errors:
    for index, fault in enumerate(faults):
        if (abort := fault.abort) is not None:
            at = f"{path}.abort[{index}]"
            yield from checks.in_range(abort.http_status, f"{at}.httpStatus", 100, 599)
            yield from checks.percentage(abort.percentage, f"{at}.percentage")
        if (delay := fault.delay) is not None:
            at = f"{path}.delay[{index}]"
            yield from checks.non_negative_duration(delay.value, f"{at}.value")
            yield from checks.percentage(delay.percentage, f"{at}.percentage")
        if (bandwidth := fault.response_bandwidth) is not None:
            at = f"{path}.responseBandwidth[{index}]"
            if not _BANDWIDTH.fullmatch(bandwidth.limit):
                yield FieldError(f"{at}.limit", "must be in kbps/Mbps/Gbps units")
            yield from checks.percentage(bandwidth.percentage, f"{at}.percentage")


KIND = Kind(
    name="MeshFaultInjection",
    scope="mesh",
    path="meshfaultinjections",
    spec_type=MeshFaultInjection,
    arg="meshfaultinjection",
    singular="Mesh Fault Injection",
    plural="Mesh Fault Injections",
    short="mfi",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    has_from=True,
    has_rules=True,
    order=800,
    validate=validate,
    warn=checks.deprecations,
    description="Faults on purpose, to see how clients take them.",
)
