"""MeshTimeout: how long connections, requests and streams may take."""

from __future__ import annotations

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Duration, Kind, Model
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import Match, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class Http(Model):
    """Timeouts of HTTP requests, streams and their connections.  Zero turns one off."""

    request_timeout: Duration | None = None
    stream_idle_timeout: Duration | None = None
    max_stream_duration: Duration | None = None
    max_connection_duration: Duration | None = None
    request_headers_timeout: Duration | None = None


class Conf(Model):
    """Timeouts of connections, and of HTTP on them."""

    connection_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    http: Http | None = None


class To(Model):
    """Timeouts for one destination."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class From(Model):
    """Timeouts for traffic that comes in."""

    target_ref: TargetRef
    default: Conf = msgspec.field(default_factory=Conf)


class Rule(Model):
    """Timeouts for traffic that comes in, of some clients or of all."""

    matches: tuple[Match, ...] | None = None
    default: Conf = msgspec.field(default_factory=Conf)


class MeshTimeout(Model):
    """Timeouts of the selected proxies."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()
    from_: tuple[From, ...] = msgspec.field(default=(), name="from")
    rules: tuple[Rule, ...] = ()


_HTTP_FIELDS = {
    "request_timeout": "requestTimeout",
    "stream_idle_timeout": "streamIdleTimeout",
    "max_stream_duration": "maxStreamDuration",
    "max_connection_duration": "maxConnectionDuration",
    "request_headers_timeout": "requestHeadersTimeout",
}
_ROUTE_REASON = "can't be specified when top-level TargetRef is referencing MeshHTTPRoute"


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshTimeout = resource.spec
    top = checks.top_kind(spec.target_ref)
    supported = checks.top_kinds(resource, "MeshHTTPRoute")
    inbound = bool(spec.from_ or spec.rules) and not spec.to
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", supported, inbound=inbound)
    yield from checks.lists(spec)
    if spec.from_ and top in ("MeshGateway", "MeshHTTPRoute"):
        yield FieldError("spec.from", checks.NOT_DEFINED)
    for index, inlet in enumerate(spec.from_):
        path = f"spec.from[{index}]"
        yield from checks.target_ref(inlet.target_ref, f"{path}.targetRef", ("Mesh",))
        yield from _conf(inlet.default, f"{path}.default")
    for index, outlet in enumerate(spec.to):
        path = f"spec.to[{index}]"
        yield from checks.target_ref(outlet.target_ref, f"{path}.targetRef", _to_kinds(top))
        yield from _conf(outlet.default, f"{path}.default", on_route=top == "MeshHTTPRoute")
    for index, rule in enumerate(spec.rules):
        path = f"spec.rules[{index}]"
        yield from checks.matches(rule.matches, path)
        yield from _conf(rule.default, f"{path}.default")
        if checks.by_identity(rule.matches):
            yield from _identity(rule.default, f"{path}.default")


def _to_kinds(top: str) -> tuple[str, ...]:
    if top in ("MeshGateway", "MeshHTTPRoute"):
        return ("Mesh", "MeshExternalService")
    return (*checks.DESTINATIONS, "MeshHTTPRoute")


def _conf(conf: Conf, path: str, *, on_route: bool = False) -> Errors:
    if on_route:
        for name in _connection_fields(conf):
            yield FieldError(f"{path}.{name}", _ROUTE_REASON)
    if conf.connection_timeout is None and conf.idle_timeout is None and conf.http is None:
        yield FieldError(path, "at least one timeout should be configured")
    yield from checks.positive_duration(conf.connection_timeout, f"{path}.connectionTimeout")
    yield from checks.non_negative_duration(conf.idle_timeout, f"{path}.idleTimeout")
    if conf.http is not None:
        yield from _http(conf.http, f"{path}.http")


def _connection_fields(conf: Conf) -> list[str]:
    """Set fields that belong to connections and so cannot differ by route."""
    names = []
    if conf.connection_timeout is not None:
        names.append("connectionTimeout")
    if conf.idle_timeout is not None:
        names.append("idleTimeout")
    if conf.http is not None and conf.http.max_stream_duration is not None:
        names.append("http.maxStreamDuration")
    if conf.http is not None and conf.http.max_connection_duration is not None:
        names.append("http.maxConnectionDuration")
    return names


def _http(http: Http, path: str) -> Errors:
    if all(getattr(http, name) is None for name in _HTTP_FIELDS):
        yield FieldError(path, "at least one timeout in this section should be configured")
    for name, shown in _HTTP_FIELDS.items():
        yield from checks.non_negative_duration(getattr(http, name), f"{path}.{shown}")


def _identity(conf: Conf, path: str) -> Errors:
    """Only the request's own timeouts can depend on who sends it."""
    names = list(_connection_fields(conf))
    if conf.http is not None and conf.http.request_headers_timeout is not None:
        names.append("http.requestHeadersTimeout")
    for name in names:
        yield FieldError(f"{path}.{name}", checks.NOT_BY_IDENTITY)


KIND = Kind(
    name="MeshTimeout",
    scope="mesh",
    path="meshtimeouts",
    spec_type=MeshTimeout,
    arg="meshtimeout",
    singular="Mesh Timeout",
    plural="Mesh Timeouts",
    short="mt",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    has_from=True,
    has_rules=True,
    from_is_rules=True,
    order=1000,
    validate=validate,
    warn=checks.deprecations,
    description="How long connections, requests and streams may take.",
)
