"""What has to hold of a MeshExternalService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.errors import FieldError
from mesh.kinds.checks import common
from mesh.kinds.checks.common import Errors
from mesh.reader import Reader
from mesh.resource import Resource

if TYPE_CHECKING:
    from mesh.kinds.meshexternalservice import DataSource, MeshExternalService, Tls, Verification

_VERSIONS = ("TLS10", "TLS11", "TLS12", "TLS13")


def validate(resource: Resource, reader: Reader) -> Errors:
    service: MeshExternalService = resource.spec
    if service.extension is not None and not service.extension.type:
        yield FieldError("spec.extension.type", "must not be empty")
    for position, endpoint in enumerate(service.endpoints or ()):
        path = f"spec.endpoints[{position}].address"
        address = endpoint.address
        socket = address.removeprefix("unix://")
        if socket.startswith("/"):
            continue
        if not common.is_ip(address) and not common.is_dns_name(address):
            yield FieldError(path, "has to be a valid IP address, DNS name or path of a Unix socket")
    if service.tls is not None:
        yield from _tls("spec.tls", service.tls)


def _tls(path: str, tls: Tls) -> Errors:
    if tls.version is not None:
        low, high = tls.version.min, tls.version.max
        if low in _VERSIONS and high in _VERSIONS and _VERSIONS.index(low) > _VERSIONS.index(high):
            yield FieldError(f"{path}.version", "min version must be lower than max")
    if tls.verification is not None:
        yield from _verification(f"{path}.verification", tls.verification)


def _verification(path: str, verification: Verification) -> Errors:
    if (verification.client_cert is None) != (verification.client_key is None):
        missing = "clientCert" if verification.client_cert is None else "clientKey"
        yield FieldError(f"{path}.{missing}", "clientCert and clientKey have to be set together")
    if verification.mode in ("SkipSAN", "SkipAll") and verification.subject_alt_names:
        message = f"must not be set when mode is {verification.mode}"
        yield FieldError(f"{path}.subjectAltNames", message)
    sources = (
        ("caCert", verification.ca_cert),
        ("clientCert", verification.client_cert),
        ("clientKey", verification.client_key),
    )
    for name, source in sources:
        if source is not None:
            yield from _source(f"{path}.{name}", source)


def _source(path: str, source: DataSource) -> Errors:
    given = [v for v in (source.secret, source.inline, source.inline_string) if v is not None]
    if len(given) != 1:
        yield FieldError(path, "exactly one of secret, inline and inlineString has to be set")
