"""What has to hold of the logging, tracing and metrics backends of a Mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from mesh.errors import FieldError
from mesh.kinds.checks import common
from mesh.kinds.checks.common import Errors

if TYPE_CHECKING:
    from mesh.kinds.mesh import Logging, Metrics, Tracing

_EMPTY = "cannot be empty"
_API_VERSIONS = ("httpJsonV1", "httpJson", "httpProto")
_SAMPLING_MAX = 100.0


class _Backend(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...


def names(path: str, backends: Sequence[_Backend], *, required: bool = True) -> Errors:
    """Each backend has a name, and no other has it too."""
    seen: set[str] = set()
    for position, backend in enumerate(backends):
        where = f"{path}[{position}].name"
        if not backend.name and required:
            yield FieldError(where, _EMPTY)
        if backend.name in seen:
            yield FieldError(where, f'"{backend.name}" name is already used for another backend')
        seen.add(backend.name)


def chosen(path: str, name: str, backends: Sequence[_Backend], message: str) -> Errors:
    """The backend that a mesh names is one of its backends."""
    if name and name not in {backend.name for backend in backends}:
        yield FieldError(path, message)


def _types(path: str, backend: _Backend, known: Sequence[str]) -> Errors:
    if backend.type not in known:
        message = f"unknown backend type. Available backends: {common.quoted(known)}"
        yield FieldError(f"{path}.type", message)


def logging(conf: Logging) -> Errors:
    yield from names("logging.backends", conf.backends)
    for position, backend in enumerate(conf.backends):
        path = f"logging.backends[{position}]"
        yield from _types(path, backend, ("tcp", "file"))
        settings = backend.conf or {}
        if backend.type == "tcp":
            yield from _host_port(f"{path}.config.address", settings.get("address"))
        elif backend.type == "file" and not settings.get("path"):
            yield FieldError(f"{path}.config.path", _EMPTY)
    message = "has to be set to one of the logging backend in mesh"
    yield from chosen("logging.defaultBackend", conf.default_backend, conf.backends, message)


def _host_port(where: str, address: Any) -> Errors:
    if not address:
        yield FieldError(where, _EMPTY)
        return
    host, colon, port = str(address).rpartition(":")
    bare = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not host or bare or not port.isdecimal() or not common.is_port(int(port[:6])):
        yield FieldError(where, "has to be in format of HOST:PORT")


def tracing(conf: Tracing) -> Errors:
    yield from names("tracing.backends", conf.backends)
    for position, backend in enumerate(conf.backends):
        path = f"tracing.backends[{position}]"
        sampling = backend.sampling
        if sampling is not None and not 0.0 <= sampling <= _SAMPLING_MAX:
            yield FieldError(f"{path}.sampling", "has to be in [0.0 - 100.0] range")
        yield from _types(path, backend, ("zipkin", "datadog"))
        if backend.type == "zipkin":
            yield from _zipkin(f"{path}.config", backend.conf or {})
        elif backend.type == "datadog":
            yield from _datadog(f"{path}.config", backend.conf or {})
    message = "has to be set to one of the tracing backend in mesh"
    yield from chosen("tracing.defaultBackend", conf.default_backend, conf.backends, message)


def _zipkin(path: str, settings: Mapping[str, Any]) -> Errors:
    url = settings.get("url")
    if not url:
        yield FieldError(f"{path}.url", _EMPTY)
    else:
        yield from _url(f"{path}.url", str(url))
    version = settings.get("apiVersion")
    if version and version not in _API_VERSIONS:
        message = f"has invalid value. Allowed values: {', '.join(_API_VERSIONS)}"
        yield FieldError(f"{path}.apiVersion", message)


def _url(where: str, text: str) -> Errors:
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        yield FieldError(where, "invalid URL")
        return
    if not url.scheme or not url.hostname:
        yield FieldError(where, "invalid URL")
    elif port is None:
        yield FieldError(where, "port has to be explicitly specified")


def _datadog(path: str, settings: Mapping[str, Any]) -> Errors:
    if not settings.get("address"):
        yield FieldError(f"{path}.address", _EMPTY)
    port = settings.get("port", 0)
    if not isinstance(port, int) or not common.is_port(port):
        yield FieldError(f"{path}.port", common.PORT_RANGE)


def metrics(conf: Metrics) -> Errors:
    yield from names("metrics.backends", conf.backends, required=False)
    for position, backend in enumerate(conf.backends):
        path = f"metrics.backends[{position}]"
        yield from _types(path, backend, ("prometheus",))
        if backend.type != "prometheus":
            continue
        yield from common.aggregate(f"{path}.conf", backend.conf)
        settings = backend.conf or {}
        if settings.get("skipMTLS") is not None and settings.get("tls"):
            message = "skipMTLS and tls configuration cannot be defined together"
            yield FieldError(f"{path}.conf", message)
    message = "has to be set to one of the backends in the mesh"
    yield from chosen("metrics.enabledBackend", conf.enabled_backend, conf.backends, message)
