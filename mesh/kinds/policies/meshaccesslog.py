"""MeshAccessLog: where proxies write down the connections and requests they saw."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mesh.errors import FieldError
from mesh.kinds.base import POLICY_KDS, Kind, Model, default
from mesh.kinds.policies import checks
from mesh.kinds.policies.checks import Errors
from mesh.kinds.policies.common import BackendResourceRef, Match, OpenTelemetry, PolicyStatus, TargetRef
from mesh.reader import Reader
from mesh.resource import Resource

NonEmpty = Annotated[str, Meta(min_length=1)]


class JsonValue(Model):
    """One field of a JSON log line."""

    key: str
    value: str


class Format(Model):
    """How a line looks; `type` tells which field is read."""

    type: Literal["Plain", "Json"]
    plain: str | None = None
    json: tuple[JsonValue, ...] | None = None
    omit_empty_values: bool = default(False)


class FileBackend(Model):
    """A file at the proxy."""

    path: NonEmpty
    format: Format | None = None


class TcpBackend(Model):
    """A log collector."""

    address: NonEmpty
    format: Format | None = None


class Attribute(Model):
    """An attribute of log records."""

    key: Annotated[str, Meta(pattern=r"^[a-z]([a-z0-9]|[._][a-z0-9])*$")]
    value: str


class OpenTelemetryBackend(Model):
    """An OpenTelemetry collector."""

    endpoint: str = default("")
    backend_ref: BackendResourceRef | None = None
    attributes: tuple[Attribute, ...] | None = None
    body: Any = None


class Backend(Model):
    """One place to write to; `type` tells which field is read."""

    type: Literal["Tcp", "File", "OpenTelemetry"]
    tcp: TcpBackend | None = None
    file: FileBackend | None = None
    open_telemetry: OpenTelemetryBackend | None = None


class Conf(Model):
    """Where to write; an empty list writes nowhere."""

    backends: tuple[Backend, ...] | None = None


class To(Model):
    """Logs of traffic to one destination."""

    target_ref: TargetRef
    default: Conf


class From(Model):
    """Logs of traffic that comes in."""

    target_ref: TargetRef
    default: Conf


class Rule(Model):
    """Logs of traffic that comes in, of some clients or of all."""

    default: Conf
    matches: tuple[Match, ...] | None = None


class MeshAccessLog(Model):
    """Access logs of the selected proxies."""

    target_ref: TargetRef | None = None
    to: tuple[To, ...] = ()
    from_: tuple[From, ...] = msgspec.field(default=(), name="from")
    rules: tuple[Rule, ...] = ()


_PATH = re.compile(r"/[^\0]*[^\0/]")


def validate(resource: Resource, reader: Reader) -> Errors:
    spec: MeshAccessLog = resource.spec
    top = checks.top_kind(spec.target_ref)
    inbound = bool(spec.from_ or spec.rules) and not spec.to
    yield from checks.target_ref(spec.target_ref, "spec.targetRef", checks.SYSTEM_TOP, inbound=inbound)
    yield from checks.lists(spec)
    if spec.from_ and top == "MeshGateway":
        yield FieldError("spec.from", checks.NOT_DEFINED)
    for index, inlet in enumerate(spec.from_):
        yield from checks.target_ref(inlet.target_ref, f"spec.from[{index}].targetRef", ("Mesh",))
        yield from _backends(inlet.default.backends, f"spec.from[{index}].default.backends")
    kinds = (
        ("Mesh", "MeshExternalService") if top == "MeshGateway" else (*checks.DESTINATIONS, "MeshHTTPRoute")
    )
    for index, outlet in enumerate(spec.to):
        yield from checks.target_ref(outlet.target_ref, f"spec.to[{index}].targetRef", kinds)
        yield from _backends(outlet.default.backends, f"spec.to[{index}].default.backends")
    for index, rule in enumerate(spec.rules):
        yield from checks.matches(rule.matches, f"spec.rules[{index}]")
        yield from _backends(rule.default.backends, f"spec.rules[{index}].default.backends")


def _backends(backends: Sequence[Backend] | None, path: str) -> Errors:
    if backends is None:
        yield FieldError(path, checks.DEFINED)
    for index, backend in enumerate(backends or ()):
        yield from _backend(backend, f"{path}[{index}]")


def _backend(backend: Backend, path: str) -> Errors:
    if backend.type == "File":
        if backend.file is None:
            yield FieldError(f"{path}.file", checks.DEFINED)
            return
        if not _PATH.fullmatch(backend.file.path):
            yield FieldError(f"{path}.file.path", "file backend requires a valid path")
        yield from _format(backend.file.format, f"{path}.file.format")
    elif backend.type == "Tcp":
        if backend.tcp is None:
            yield FieldError(f"{path}.tcp", checks.DEFINED)
            return
        if not _is_address(backend.tcp.address):
            yield FieldError(f"{path}.tcp.address", "tcp backend requires valid address")
        yield from _format(backend.tcp.format, f"{path}.tcp.format")
    elif backend.open_telemetry is None:
        yield FieldError(f"{path}.openTelemetry", checks.DEFINED)
    else:
        otel = backend.open_telemetry
        collector = OpenTelemetry(endpoint=otel.endpoint, backend_ref=otel.backend_ref)
        yield from checks.otel(collector, f"{path}.openTelemetry")


def _is_address(address: str) -> bool:
    host, colon, port = address.rpartition(":")
    return bool(host and colon) and "://" not in address and port.isdigit() and 0 < int(port) <= 65535


def _format(line: Format | None, path: str) -> Errors:
    if line is None:
        return
    if line.type == "Plain":
        if line.plain is None:
            yield FieldError(f"{path}.plain", checks.DEFINED)
        elif not line.plain:
            yield FieldError(f"{path}.plain", checks.NOT_EMPTY)
    elif line.json is None:
        yield FieldError(f"{path}.json", checks.DEFINED)
    elif not line.json:
        yield FieldError(f"{path}.json", checks.NOT_EMPTY)
    else:
        for index, field in enumerate(line.json):
            yield from _json_field(field, f"{path}.json[{index}]")


def _json_field(field: JsonValue, path: str) -> Errors:
    if not field.key:
        yield FieldError(f"{path}.key", "key cannot be empty")
    if not field.value:
        yield FieldError(f"{path}.value", "value cannot be empty")
    try:
        json.loads(f'{{"{field.key}": "{field.value}"}}')
    except ValueError:
        yield FieldError(path, "is not a valid JSON object")


KIND = Kind(
    name="MeshAccessLog",
    scope="mesh",
    path="meshaccesslogs",
    spec_type=MeshAccessLog,
    status_type=PolicyStatus,
    arg="meshaccesslog",
    singular="Mesh Access Log",
    plural="Mesh Access Logs",
    short="mal",
    kds=POLICY_KDS,
    is_policy=True,
    has_to=True,
    has_from=True,
    has_rules=True,
    from_is_rules=True,
    order=600,
    validate=validate,
    warn=checks.deprecations,
    description="Where proxies write down the connections and requests they saw.",
)
