"""MeshHealthCheck: how the endpoints of a destination are probed."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Duration, Int32, IntOrString, Kind, Model
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import HeaderKeyValue, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class Tcp(Model):
    """Opens a connection; may send and expect bytes (base64)."""

    disabled: bool | None = None
    send: str | None = None
    receive: tuple[str, ...] | None = None


class HeadersToAdd(Model):
    """Headers of probes."""

    set: Annotated[tuple[HeaderKeyValue, ...], Meta(max_length=16)] | None = None
    add: Annotated[tuple[HeaderKeyValue, ...], Meta(max_length=16)] | None = None


class Http(Model):
    """Sends a request."""

    disabled: bool | None = None
    path: str | None = None
    request_headers_to_add: HeadersToAdd | None = None
    expected_statuses: tuple[Int32, ...] | None = None


class Grpc(Model):
    """Asks the gRPC health service."""

    disabled: bool | None = None
    service_name: str | None = None
    authority: str | None = None


class Conf(Model):
    """Probes and what they mean."""

    interval: Duration | None = None
    timeout: Duration | None = None
    unhealthy_threshold: Int32 | None = None
    healthy_threshold: Int32 | None = None
    initial_jitter: Duration | None = None
    interval_jitter: Duration | None = None
    interval_jitter_percent: Int32 | None = None
    healthy_panic_threshold: IntOrString | None = None
    fail_traffic_on_panic: bool | None = None
    event_log_path: str | None = None
    always_log_health_check_failures: bool | None = None
    no_traffic_interval: Duration | None = None
    reuse_connection: bool | None = None
    tcp: Tcp | None = None
    http: Http | None = None
    grpc: Grpc | None = None


class To(Model):
    """Probes of one destination."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class MeshHealthCheck(Model):
    """Health checks of the selected proxies."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshHealthCheck = resource.spec
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", checks.SYSTEM_TOP)
    gateway = checks.top_kind(spec.target_ref) == "MeshGateway"
    kinds = ("Mesh", "MeshExternalService") if gateway else checks.DESTINATIONS
    for index, outlet in enumerate(spec.to):
        yield from checks.target_ref(outlet.target_ref, f"spec.to[{index}].targetRef", kinds)
        yield from _conf(outlet.default, f"spec.to[{index}].default")


def _conf(conf: Conf, path: str) -> Errors:
    if conf.http is None and conf.tcp is None and conf.grpc is None:
        yield FieldError(path, "must have at least one defined: http, tcp, grpc")
    for value, name in (
        (conf.unhealthy_threshold, "unhealthyThreshold"),
        (conf.healthy_threshold, "healthyThreshold"),
    ):
        if value is not None and value <= 0:
            yield FieldError(f"{path}.{name}", "must be greater than zero when defined")
    yield from checks.positive_duration(conf.interval, f"{path}.interval")
    yield from checks.positive_duration(conf.timeout, f"{path}.timeout")
    yield from checks.positive_duration(conf.initial_jitter, f"{path}.initialJitter")
    yield from checks.positive_duration(conf.interval_jitter, f"{path}.intervalJitter")
    yield from checks.positive_duration(conf.no_traffic_interval, f"{path}.noTrafficInterval")
    yield from checks.in_range(conf.interval_jitter_percent, f"{path}.intervalJitterPercent", 0, 100)
    yield from checks.percentage(conf.healthy_panic_threshold, f"{path}.healthyPanicThreshold")
    if conf.event_log_path is not None and not conf.event_log_path.startswith("/"):
        yield FieldError(f"{path}.eventLogPath", "must be a valid path when defined")
    for index, status in enumerate((conf.http and conf.http.expected_statuses) or ()):
        yield from checks.in_range(status, f"{path}.http.expectedStatuses[{index}]", 100, 599)


KIND = Kind(
    name="MeshHealthCheck",
    scope="mesh",
    path="meshhealthchecks",
    spec_type=MeshHealthCheck,
    arg="meshhealthcheck",
    singular="Mesh Health Check",
    plural="Mesh Health Checks",
    short="mhc",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    order=1200,
    validate=validate,
    warn=checks.deprecations,
    description="How the endpoints of a destination are probed.",
)
