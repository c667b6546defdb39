"""What has to hold of a MeshService and a MeshMultiZoneService."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mesh.errors import FieldError
from mesh.kinds.checks import common
from mesh.kinds.checks.common import Errors
from mesh.limits import LABEL_NAME_CHARS_MAX, SERVICE_NAME_CHARS_MAX
from mesh.reader import Reader
from mesh.resource import Resource

if TYPE_CHECKING:
    from mesh.kinds.meshservice import MeshMultiZoneService, MeshService

_PROTOCOL = f"appProtocol must be one of: {', '.join(common.PROTOCOLS)}"


def validate(resource: Resource, reader: Reader) -> Errors:
    service: MeshService = resource.spec
    if len(resource.display_name) > SERVICE_NAME_CHARS_MAX:
        yield FieldError("name", f"must not be longer than {SERVICE_NAME_CHARS_MAX} characters")
    selector = service.selector
    given = (selector.dataplane_tags, selector.dataplane_ref, selector.dataplane_labels)
    if sum(part is not None for part in given) > 1:
        message = "must specify only one of: dataplaneTags, dataplaneRef, or dataplaneLabels"
        yield FieldError("spec.selector", message)
    for position, port in enumerate(service.ports):
        path = f"spec.ports[{position}]"
        yield from common.port(f"{path}.port", port.port)
        if port.app_protocol not in common.PROTOCOLS:
            yield FieldError(f"{path}.appProtocol", _PROTOCOL)


def validate_multi_zone(resource: Resource, reader: Reader) -> Errors:
    service: MeshMultiZoneService = resource.spec
    if not service.selector.mesh_service.match_labels:
        yield FieldError("spec.selector.meshService.matchLabels", "cannot be empty")
    if not service.ports:
        yield FieldError("spec.ports", "cannot be empty")
    for position, port in enumerate(service.ports):
        path = f"spec.ports[{position}]"
        if port.name == "":
            yield FieldError(f"{path}.name", "must not be empty")
        yield from common.port(f"{path}.port", port.port)
        if port.app_protocol not in common.PROTOCOLS:
            yield FieldError(f"{path}.appProtocol", _PROTOCOL)


def warn(resource: Resource) -> Iterable[str]:
    """Names that do not fit into a server name: traffic across zones needs one."""
    spec = resource.spec
    match = getattr(spec, "match", None)
    ports = (match,) if match is not None else spec.ports
    for port in ports:
        section = getattr(port, "name", None) or str(port.port)
        fault = _label_fault(resource.display_name)
        if fault:
            yield (
                f'Invalid {resource.kind} SNI (port "{section}"): name "{resource.display_name}" does not '
                f"conform to RFC 1123: {fault}. This is deprecated."
            )


def _label_fault(name: str) -> str:
    if "." in name:
        return "must not contain dots"
    if len(name) > LABEL_NAME_CHARS_MAX:
        return f"must be no more than {LABEL_NAME_CHARS_MAX} characters"
    return ""
