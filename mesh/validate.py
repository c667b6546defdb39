"""What types cannot say about a resource: the meaning of its fields and its place among the others.

Each kind brings its own checks (`Kind.validate`); here are those of all kinds, in the order in which
the answers are expected: name and mesh first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mesh.dnsnames import is_1123_subdomain, label_1035_faults
from mesh.errors import FieldError
from mesh.kinds.checks import secrets
from mesh.limits import NAME_CHARS_MAX
from mesh.reader import NoResources, Reader
from mesh.registry import KINDS
from mesh.resource import Resource

_NOT_A_NAME = (
    "invalid characters. A lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
    "'-' or '.', and must start and end with an alphanumeric character"
)
_OLD_NAME = re.compile(r"[0-9a-z\-_.]*")
_SHOULD_BE_LABELS = frozenset({"Mesh", "Zone", "MeshService", "MeshExternalService", "MeshMultiZoneService"})


def validate(resource: Resource, reader: Reader | None = None) -> list[FieldError]:
    """All faults of a resource that is about to be written, [] when there are none.

    `reader` reads the state before the write: the stored resource under the same key, if any, is
    what an update is compared with.  Without a reader the document is judged by itself.
    """
    kind = KINDS[resource.kind]
    before = NoResources() if reader is None else reader
    faults = [*_meta(resource, before), *kind.validate(resource, before)]
    if reader is not None and kind.scope == "mesh" and reader.get("Mesh", "", resource.mesh) is None:
        faults.append(FieldError("mesh", f"mesh of name {resource.mesh} is not found"))
    return faults


def validate_delete(resource: Resource, reader: Reader) -> list[FieldError]:
    """All reasons why a stored resource must not be deleted, [] when there are none."""
    if resource.kind == "Secret":
        return list(secrets.in_use(resource, reader))
    if resource.kind == "Mesh" and reader.list("Dataplane", resource.name):
        message = "unable to delete mesh, there are still some dataplanes attached"
        return [FieldError("mesh", message)]
    return []


def _meta(resource: Resource, reader: Reader) -> Iterator[FieldError]:
    kind = KINDS[resource.kind]
    if not resource.name:
        yield FieldError("name", "cannot be empty")
    elif len(resource.name) > NAME_CHARS_MAX:
        yield FieldError("name", f"value length must less or equal {NAME_CHARS_MAX}")
    elif not is_1123_subdomain(resource.name) and not _known(resource, reader):
        yield FieldError("name", _NOT_A_NAME)
    if kind.scope == "mesh" and not resource.mesh:
        yield FieldError("mesh", "cannot be empty")


def _known(resource: Resource, reader: Reader) -> bool:
    """Names of older versions stay writable: "_" was allowed once."""
    return bool(_OLD_NAME.fullmatch(resource.name)) and reader.get(*resource.key) is not None


def warnings(resource: Resource) -> list[str]:
    """Deprecations that the writer should know of; sentences."""
    found = []
    if resource.kind in _SHOULD_BE_LABELS:
        faults = label_1035_faults(resource.name)
        if faults:
            found.append(
                f"Invalid {resource.kind} resource name: '{resource.name}'. It does not conform to the DNS "
                f"format (RFC 1035). This is deprecated. Errors: {', '.join(faults)}"
            )
    return [*found, *KINDS[resource.kind].warn(resource)]
