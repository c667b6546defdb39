"""What has to hold of a Workload, a MeshZoneAddress and a MeshOpenTelemetryBackend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.errors import FieldError
from mesh.kinds.checks import common
from mesh.kinds.checks.common import Errors
from mesh.limits import NAME_CHARS_MAX
from mesh.reader import Reader
from mesh.resource import Resource

if TYPE_CHECKING:
    from mesh.kinds.others import MeshOpenTelemetryBackend, MeshZoneAddress


def validate_workload(resource: Resource, reader: Reader) -> Errors:
    if len(resource.name) > NAME_CHARS_MAX:
        yield FieldError("name", f"must not be longer than {NAME_CHARS_MAX} characters")


def validate_zone_address(resource: Resource, reader: Reader) -> Errors:
    place: MeshZoneAddress = resource.spec
    yield from common.address("spec.address", place.address)


def validate_backend(resource: Resource, reader: Reader) -> Errors:
    backend: MeshOpenTelemetryBackend = resource.spec
    endpoint = backend.endpoint
    if endpoint is None:
        return
    if endpoint.address is not None:
        yield from common.address("spec.endpoint.address", endpoint.address)
    if endpoint.port is not None:
        yield from common.port("spec.endpoint.port", endpoint.port)
    if endpoint.path is not None and not endpoint.path.startswith("/"):
        yield FieldError("spec.endpoint.path", "must start with /")
