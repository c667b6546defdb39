"""MeshRetry: what is tried again when it failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Duration, Int32, Kind, Model, Tags, UInt32, default
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import HeaderMatch, HeaderName, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class BackOff(Model):
    """How long to wait between attempts; doubles up to the maximum."""

    base_interval: Duration | None = None
    max_interval: Duration | None = None


class ResetHeader(Model):
    """A header by which the server tells when to come again."""

    name: HeaderName
    format: Literal["Seconds", "UnixTimestamp"]


class RateLimitedBackOff(Model):
    """How long to wait when the server says that it is too much."""

    reset_headers: tuple[ResetHeader, ...] | None = None
    max_interval: Duration | None = None


class HostSelection(Model):
    """Which endpoints another attempt leaves out."""

    predicate: Literal["OmitPreviousHosts", "OmitHostsWithTags", "OmitPreviousPriorities"]
    tags: Tags | None = None
    update_frequency: Int32 = default(2)


class Tcp(Model):
    """Connections."""

    max_connect_attempt: UInt32 | None = None


class Http(Model):
    """HTTP requests."""

    num_retries: UInt32 | None = None
    per_try_timeout: Duration | None = None
    back_off: BackOff | None = None
    rate_limited_back_off: RateLimitedBackOff | None = None
    retry_on: tuple[str, ...] | None = None
    retriable_response_headers: tuple[HeaderMatch, ...] | None = None
    retriable_request_headers: tuple[HeaderMatch, ...] | None = None
    host_selection: tuple[HostSelection, ...] | None = None
    host_selection_max_attempts: int | None = None


class Grpc(Model):
    """gRPC calls."""

    num_retries: UInt32 | None = None
    per_try_timeout: Duration | None = None
    back_off: BackOff | None = None
    rate_limited_back_off: RateLimitedBackOff | None = None
    retry_on: tuple[str, ...] | None = None


class Conf(Model):
    """Retries by protocol."""

    tcp: Tcp | None = None
    http: Http | None = None
    grpc: Grpc | None = None


class To(Model):
    """Retries for one destination."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class MeshRetry(Model):
    """Retries of the selected proxies."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()


HTTP_RETRY_ON = frozenset(
    {
        "5xx",
        "GatewayError",
        "Reset",
        "Retriable4xx",
        "ConnectFailure",
        "EnvoyRatelimited",
        "RefusedStream",
        "Http3PostConnectFailure",
        "HttpMethodConnect",
        "HttpMethodDelete",
        "HttpMethodGet",
        "HttpMethodHead",
        "HttpMethodOptions",
        "HttpMethodPatch",
        "HttpMethodPost",
        "HttpMethodPut",
        "HttpMethodTrace",
    }
)
"""What an HTTP request is retried on, besides status codes."""

GRPC_RETRY_ON = frozenset({"Canceled", "DeadlineExceeded", "Internal", "ResourceExhausted", "Unavailable"})
"""gRPC status codes on which a call is retried."""

_STATUS_MIN, _STATUS_MAX = 400, 599


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshRetry = resource.spec
    top = checks.top_kind(spec.target_ref)
    yield from checks.target_ref(
        spec.target_ref, "spec.targetRef", checks.top_kinds(resource, "MeshHTTPRoute")
    )
    if top in ("MeshGateway", "MeshHTTPRoute"):
        kinds: tuple[str, ...] = ("Mesh", "MeshExternalService")
    else:
        kinds = (*checks.DESTINATIONS, "MeshHTTPRoute")
    for index, outlet in enumerate(spec.to):
        yield from checks.target_ref(outlet.target_ref, f"spec.to[{index}].targetRef", kinds)
        yield from _conf(outlet.default, f"spec.to[{index}].default.conf")


def _conf(conf: Conf, path: str) -> Errors:
    if conf.tcp is None and conf.http is None and conf.grpc is None:
        yield FieldError(path, "at least one of the 'tcp', 'http', 'grpc' must be specified")
    if conf.tcp is not None:
        if conf.tcp == Tcp():
            yield FieldError(f"{path}.tcp", checks.NOT_EMPTY)
        yield from checks.greater_than_zero(conf.tcp.max_connect_attempt, f"{path}.tcp.maxConnectAttempt")
    if conf.http is not None:
        yield from _http(conf.http, f"{path}.http")
    if conf.grpc is not None:
        yield from _request(conf.grpc, f"{path}.grpc", conf.grpc == Grpc())
        for index, item in enumerate(conf.grpc.retry_on or ()):
            if item not in GRPC_RETRY_ON:
                yield FieldError(f"{path}.grpc.retryOn[{index}]", f"unknown item '{item}'")


def _request(conf: Http | Grpc, path: str, empty: bool) -> Errors:
    if empty:
        yield FieldError(path, checks.NOT_EMPTY)
    yield from checks.positive_duration(conf.per_try_timeout, f"{path}.perTryTimeout")
    if conf.back_off is not None:
        if conf.back_off == BackOff():
            yield FieldError(f"{path}.backOff", checks.NOT_EMPTY)
        yield from checks.positive_duration(conf.back_off.base_interval, f"{path}.backOff.baseInterval")
        yield from checks.positive_duration(conf.back_off.max_interval, f"{path}.backOff.maxInterval")
    if (limited := conf.rate_limited_back_off) is not None:
        at = f"{path}.rateLimitedBackOff"
        if not limited.reset_headers:
            yield FieldError(f"{at}.resetHeaders", checks.DEFINED)
        yield from checks.positive_duration(limited.max_interval, f"{at}.maxInterval")


def _http(http: Http, path: str) -> Errors:
    yield from _request(http, path, http == Http())
    for index, item in enumerate(http.retry_on or ()):
        if item not in HTTP_RETRY_ON and not is_status(item):
            yield FieldError(f"{path}.retryOn[{index}]", f"unknown item '{item}'")
    yield from _hosts(http.host_selection or (), f"{path}.hostSelection")


def is_status(item: str) -> bool:
    """Whether an element of `retryOn` is an HTTP status code."""
    return item.isascii() and item.isdigit() and _STATUS_MIN <= int(item) <= _STATUS_MAX


def _hosts(selections: Sequence[HostSelection], path: str) -> Errors:
    priorities = 0
    for index, selection in enumerate(selections):
        at = f"{path}[{index}]"
        if selection.predicate == "OmitHostsWithTags" and not selection.tags:
            yield FieldError(f"{at}.tags", checks.DEFINED)
        if selection.predicate == "OmitPreviousPriorities":
            priorities += 1
            if selection.update_frequency <= 0:
                yield FieldError(f"{at}.updateFrequency", "must be defined and greater than zero")
            if priorities > 1:
                yield FieldError(f"{at}.predicate", "OmitPreviousPriorities must only be specified once")


KIND = Kind(
    name="MeshRetry",
    scope="mesh",
    path="meshretries",
    spec_type=MeshRetry,
    arg="meshretry",
    arg_aliases=("meshretries",),
    singular="Mesh Retry",
    plural="Mesh Retries",
    short="mr",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    order=1400,
    validate=validate,
    warn=checks.deprecations,
    description="What is tried again when it failed.",
)
