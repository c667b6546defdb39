"""MeshMetric: which numbers proxies publish, of themselves and of the applications behind them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Duration, Int32, Kind, Model, default
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import BackendResourceRef, OpenTelemetry, PolicyStatus, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource


class Selector(Model):
    """Selects metrics by their name."""

    type: Literal["Prefix", "Regex", "Exact", "Contains"]
    match: str


class Profile(Model):
    """A prepared selection of Envoy's metrics."""

    name: Literal["All", "Basic", "None"]


class Profiles(Model):
    """Which of Envoy's metrics are published."""

    append_profiles: tuple[Profile, ...] | None = None
    exclude: tuple[Selector, ...] | None = None
    include: tuple[Selector, ...] | None = None


class Sidecar(Model):
    """Metrics of Envoy."""

    profiles: Profiles | None = None
    include_unused: bool | None = None


class Application(Model):
    """Metrics of an application."""

    port: Int32
    name: str | None = None
    path: str = default("/metrics")
    address: str | None = None


class Tls(Model):
    """How the endpoint is protected."""

    mode: Literal["Disabled", "ProvidedTLS", "ActiveMTLSBackend"] = default("Disabled")


class Prometheus(Model):
    """An endpoint that Prometheus scrapes."""

    client_id: str | None = None
    port: Int32 = default(5670)
    path: str = default("/metrics")
    tls: Tls | None = None


class OpenTelemetryBackend(Model):
    """A collector that metrics are pushed to."""

    endpoint: str = default("")
    backend_ref: BackendResourceRef | None = None
    refresh_interval: Duration | None = None


class Backend(Model):
    """Who gets the metrics; `type` tells which field is read."""

    type: Literal["Prometheus", "OpenTelemetry"]
    prometheus: Prometheus | None = None
    open_telemetry: OpenTelemetryBackend | None = None


class Conf(Model):
    """Metrics, and who gets them."""

    sidecar: Sidecar | None = None
    applications: tuple[Application, ...] | None = None
    backends: tuple[Backend, ...] | None = None


class MeshMetric(Model):
    """Metrics of the selected proxies."""

    target_ref: TargetRef | None = None
    default: Conf = msgspec.field(default_factory=Conf)


_PORT_FAULT = "port must be a valid (1-65535)"


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshMetric = resource.spec
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", checks.top_kinds(resource))
    conf, path = spec.default, "spec.default"
    if conf.sidecar is not None and conf.sidecar.profiles is not None:
        at = f"{path}.sidecar.profiles"
        yield from _selectors(conf.sidecar.profiles.exclude or (), f"{at}.exclude")
        yield from _selectors(conf.sidecar.profiles.include or (), f"{at}.include")
    for index, application in enumerate(conf.applications or ()):
        if not 1 <= application.port <= 65535:
            yield FieldError(f"{path}.applications.application[{index}]", _PORT_FAULT)
    for index, backend in enumerate(conf.backends or ()):
        yield from _backend(backend, f"{path}.backends.backend[{index}]")


def _selectors(selectors: Sequence[Selector], path: str) -> Errors:
    for index, selector in enumerate(selectors):
        if selector.type == "Regex" and not _is_regex(selector.match):
            yield FieldError(f"{path}[{index}].match", "invalid regex")


def _is_regex(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _backend(backend: Backend, path: str) -> Errors:
    if backend.type == "Prometheus":
        if backend.prometheus is None:
            yield FieldError(f"{path}.prometheus", checks.DEFINED)
        elif not 1 <= backend.prometheus.port <= 65535:
            yield FieldError(f"{path}.port", _PORT_FAULT)
    elif backend.open_telemetry is None:
        yield FieldError(f"{path}.openTelemetry", checks.DEFINED)
    else:
        otel = backend.open_telemetry
        collector = OpenTelemetry(endpoint=otel.endpoint, backend_ref=otel.backend_ref)
        yield from checks.otel(collector, f"{path}.openTelemetry")


KIND = Kind(
    name="MeshMetric",
    scope="mesh",
    path="meshmetrics",
    spec_type=MeshMetric,
    status_type=PolicyStatus,
    arg="meshmetric",
    singular="Mesh Metric",
    plural="Mesh Metrics",
    short="mm",
    kds=POLICY_KDS,
    is_policy=True,
    order=1500,
    validate=validate,
    warn=checks.deprecations,
    description="Which numbers proxies publish, of themselves and of the applications behind them.",
)
