"""MeshTrace: where proxies report the spans of requests."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, IntOrString, Kind, Model, default
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import OpenTelemetry, PolicyStatus, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class Zipkin(Model):
    """A Zipkin collector."""

    url: str
    trace_id128bit: bool = msgspec.field(default_factory=lambda: False, name="traceId128bit")
    api_version: Literal["httpJson", "httpProto"] = default("httpJson")
    shared_span_context: bool = default(True)


class Datadog(Model):
    """A Datadog agent."""

    url: str
    split_service: bool = default(False)


class Backend(Model):
    """Where spans go; `type` tells which field is read."""

    type: Literal["Zipkin", "Datadog", "OpenTelemetry"]
    zipkin: Zipkin | None = None
    datadog: Datadog | None = None
    open_telemetry: OpenTelemetry | None = None


class Sampling(Model):
    """Percentages: of all requests, of those a client asked for, of the others."""

    overall: IntOrString | None = None
    client: IntOrString | None = None
    random: IntOrString | None = None


class HeaderTag(Model):
    """A tag with the value of a header."""

    name: str
    default: str | None = None


class Tag(Model):
    """A tag of spans."""

    name: str
    header: HeaderTag | None = None
    literal: str | None = None


class Conf(Model):
    """Backend (one at most), sampling, and tags."""

    backends: Annotated[tuple[Backend, ...], Meta(max_length=1)] | None = None
    sampling: Sampling | None = None
    tags: tuple[Tag, ...] | None = None


class MeshTrace(Model):
    """Tracing of the selected proxies."""

    target_ref: TargetRef | None = None
    default: Conf = msgspec.field(default_factory=Conf)


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshTrace = resource.spec
    supported = checks.top_kinds(resource)
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", supported, gateway_tags=False)
    path, conf = "spec.default", spec.default
    if conf.backends is None:
        yield FieldError(f"{path}.backends", checks.DEFINED)
    elif len(conf.backends) > 1:
        yield FieldError(f"{path}.backends", "must have zero or one backend defined")
    for index, backend in enumerate(conf.backends or ()):
        yield from _backend(backend, f"{path}.backends[{index}]")
    for index, tag in enumerate(conf.tags or ()):
        yield from _tag(tag, f"{path}.tags[{index}]")
    if conf.sampling is not None:
        for name in ("overall", "client", "random"):
            yield from _share(getattr(conf.sampling, name), f"{path}.sampling.{name}")


def _backend(backend: Backend, path: str) -> Errors:
    if backend.type == "Zipkin":
        if backend.zipkin is None:
            yield FieldError(f"{path}.zipkin", checks.DEFINED)
        elif not backend.zipkin.url:
            yield FieldError(f"{path}.zipkin.url", checks.NOT_EMPTY)
        elif not checks.is_url(backend.zipkin.url):
            yield FieldError(f"{path}.zipkin.url", "must be a valid url")
    elif backend.type == "Datadog":
        if backend.datadog is None:
            yield FieldError(f"{path}.datadog", checks.DEFINED)
        else:
            yield from _agent(backend.datadog.url, f"{path}.datadog.url")
    elif backend.open_telemetry is None:
        yield FieldError(f"{path}.openTelemetry", checks.DEFINED)
    else:
        yield from checks.otel(backend.open_telemetry, f"{path}.openTelemetry")


def _agent(url: str, path: str) -> Errors:
    if not url:
        yield FieldError(path, checks.NOT_EMPTY)
        return
    if not checks.is_url(url):
        yield FieldError(path, "must be a valid url")
        return
    parts = urlsplit(url)
    port = parts.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    if not port:
        yield FieldError(path, "port must be defined")
    elif not port.isdigit() or not 1 <= int(port) <= 65535:
        yield FieldError(path, "port must be a valid (1-65535)")
    if parts.scheme != "http":
        yield FieldError(path, "scheme must be http")
    if parts.path:
        yield FieldError(path, "path must not be defined")


def _tag(tag: Tag, path: str) -> Errors:
    if not tag.name:
        yield FieldError(f"{path}.name", checks.NOT_EMPTY)
    present = [name for name in ("header", "literal") if getattr(tag, name) is not None]
    yield from checks.one_of("tag", path, present, ("header", "literal"))
    if tag.header is not None and not tag.header.name:
        yield FieldError(f"{path}.header.name", checks.NOT_EMPTY)


def _share(value: int | str | None, path: str) -> Errors:
    if value is None:
        return
    number = checks.number_of(value)
    if number is None:
        yield FieldError(path, "string is not a number")
    elif not 0 <= number <= 100:
        yield FieldError(path, "must be between 0 and 100")


KIND = Kind(
    name="MeshTrace",
    scope="mesh",
    path="meshtraces",
    spec_type=MeshTrace,
    status_type=PolicyStatus,
    arg="meshtrace",
    singular="Mesh Trace",
    plural="Mesh Traces",
    short="mtr",
    kds=POLICY_KDS,
    is_policy=True,
    order=700,
    validate=validate,
    warn=checks.deprecations,
    description="Where proxies report the spans of requests.",
)
