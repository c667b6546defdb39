"""MeshCircuitBreaker: how much is sent to a destination, and when an endpoint is left out."""

from __future__ import annotations

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Duration, Int32, IntOrString, Kind, Model
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class ConnectionLimits(Model):
    """Bounds per destination."""

    max_connections: Int32 | None = None
    max_connection_pools: Int32 | None = None
    max_pending_requests: Int32 | None = None
    max_retries: Int32 | None = None
    max_requests: Int32 | None = None


class Consecutive(Model):
    """So many failures in a row."""

    consecutive: Int32 | None = None


class SuccessRate(Model):
    """An endpoint whose success rate is far below the others'."""

    minimum_hosts: Int32 | None = None
    request_volume: Int32 | None = None
    standard_deviation_factor: IntOrString | None = None


class FailurePercentage(Model):
    """An endpoint that fails too large a share of its requests."""

    minimum_hosts: Int32 | None = None
    request_volume: Int32 | None = None
    threshold: Int32 | None = None


class Detectors(Model):
    """What counts as a bad endpoint."""

    total_failures: Consecutive | None = None
    gateway_failures: Consecutive | None = None
    local_origin_failures: Consecutive | None = None
    success_rate: SuccessRate | None = None
    failure_percentage: FailurePercentage | None = None


class OutlierDetection(Model):
    """When an endpoint is left out, and for how long."""

    disabled: bool | None = None
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Int32 | None = None
    split_external_and_local_errors: bool | None = None
    healthy_panic_threshold: IntOrString | None = None
    detectors: Detectors | None = None


class Conf(Model):
    """Limits and the detection of bad endpoints."""

    connection_limits: ConnectionLimits | None = None
    outlier_detection: OutlierDetection | None = None


class To(Model):
    """Limits of one destination."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class From(Model):
    """Limits of traffic that comes in."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class Rule(Model):
    """Limits of traffic that comes in."""

    default: Conf = msgspec.field(default_factory=Conf)


class MeshCircuitBreaker(Model):
    """Circuit breakers of the selected proxies."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()
    from_: tuple[From, ...] = msgspec.field(default=(), name="from")
    rules: tuple[Rule, ...] = ()


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshCircuitBreaker = resource.spec
    top = checks.top_kind(spec.target_ref)
    inbound = bool(spec.from_ or spec.rules) and not spec.to
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", checks.SYSTEM_TOP, inbound=inbound)
    yield from checks.lists(spec)
    if spec.from_ and top == "MeshGateway":
        yield FieldError("spec.from", checks.NOT_DEFINED)
    for index, inlet in enumerate(spec.from_):
        yield from checks.target_ref(inlet.target_ref, f"spec.from[{index}].targetRef", ("Mesh",))
        yield from _conf(inlet.default, f"spec.from[{index}].default")
    kinds = ("Mesh", "MeshExternalService") if top == "MeshGateway" else checks.DESTINATIONS
    for index, outlet in enumerate(spec.to):
        yield from checks.target_ref(outlet.target_ref, f"spec.to[{index}].targetRef", kinds)
        yield from _conf(outlet.default, f"spec.to[{index}].default")
    for index, rule in enumerate(spec.rules):
        yield from _conf(rule.default, f"spec.rules[{index}].default")


def _conf(conf: Conf, path: str) -> Errors:
    if conf.connection_limits is None and conf.outlier_detection is None:
        text = "at least one of: 'connectionLimits' or 'outlierDetection' should be configured"
        yield FieldError(path, text)
    if (limits := conf.connection_limits) is not None:
        at = f"{path}.connectionLimits"
        yield from checks.greater_than_zero(limits.max_connections, f"{at}.maxConnections")
        yield from checks.greater_than_zero(limits.max_connection_pools, f"{at}.maxConnectionPools")
        yield from checks.greater_than_zero(limits.max_pending_requests, f"{at}.maxPendingRequests")
        yield from checks.greater_than_zero(limits.max_retries, f"{at}.maxRetries")
        yield from checks.greater_than_zero(limits.max_requests, f"{at}.maxRequests")
    if (outliers := conf.outlier_detection) is not None:
        yield from _outliers(outliers, f"{path}.outlierDetection")


def _outliers(outliers: OutlierDetection, path: str) -> Errors:
    yield from checks.positive_duration(outliers.interval, f"{path}.interval")
    yield from checks.positive_duration(outliers.base_ejection_time, f"{path}.baseEjectionTime")
    yield from checks.in_range(outliers.max_ejection_percent, f"{path}.maxEjectionPercent", 0, 100)
    yield from checks.percentage(outliers.healthy_panic_threshold, f"{path}.healthyPanicThreshold")
    if outliers.detectors is not None:
        yield from _detectors(outliers.detectors, f"{path}.detectors")
    elif not outliers.disabled:
        yield FieldError(f"{path}.detectors", checks.DEFINED)


_DETECTORS = {
    "total_failures": "totalFailures",
    "gateway_failures": "gatewayFailures",
    "local_origin_failures": "localOriginFailures",
    "success_rate": "successRate",
    "failure_percentage": "failurePercentage",
}


def _detectors(detectors: Detectors, path: str) -> Errors:
    if all(getattr(detectors, name) is None for name in _DETECTORS):
        yield FieldError(path, f"must have at least one defined: {', '.join(_DETECTORS.values())}")
    for name in ("total_failures", "gateway_failures", "local_origin_failures"):
        if (detector := getattr(detectors, name)) is not None:
            yield from checks.greater_than_zero(
                detector.consecutive, f"{path}.{_DETECTORS[name]}.consecutive"
            )
    if (rate := detectors.success_rate) is not None:
        at = f"{path}.successRate"
        yield from checks.greater_than_zero(rate.minimum_hosts, f"{at}.minimumHosts")
        yield from checks.greater_than_zero(rate.request_volume, f"{at}.requestVolume")
        yield from _factor(rate.standard_deviation_factor, f"{at}.standardDeviationFactor")
    if (share := detectors.failure_percentage) is not None:
        at = f"{path}.failurePercentage"
        yield from checks.greater_than_zero(share.minimum_hosts, f"{at}.minimumHosts")
        yield from checks.greater_than_zero(share.request_volume, f"{at}.requestVolume")
        yield from checks.in_range(share.threshold, f"{at}.threshold", 0, 100)


def _factor(value: int | str | None, path: str) -> Errors:
    if value is None:
        return
    number = checks.number_of(value)
    if number is None:
        yield FieldError(path, "invalid number")
    elif number <= 0:
        yield FieldError(path, "must be greater than 0")


KIND = Kind(
    name="MeshCircuitBreaker",
    scope="mesh",
    path="meshcircuitbreakers",
    spec_type=MeshCircuitBreaker,
    arg="meshcircuitbreaker",
    singular="Mesh Circuit Breaker",
    plural="Mesh Circuit Breakers",
    short="mcb",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    has_from=True,
    has_rules=True,
    from_is_rules=True,
    order=1300,
    validate=validate,
    warn=checks.deprecations,
    description="How much is sent to a destination, and when an endpoint is left out.",
)
