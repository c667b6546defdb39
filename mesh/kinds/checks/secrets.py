"""What has to hold of a Secret, and which one must not be deleted."""

from __future__ import annotations

import base64
import binascii

from mesh.errors import FieldError
from mesh.kinds.checks.common import Errors
from mesh.reader import Reader
from mesh.resource import Resource


def validate(resource: Resource, reader: Reader) -> Errors:
    try:
        base64.b64decode(resource.spec.data, validate=True)
    except (binascii.Error, ValueError):
        yield FieldError("data", "has to be base64-encoded bytes")


def in_use(secret: Resource, reader: Reader) -> Errors:
    """Faults of deleting a Secret: its mesh takes the certificate authority from it."""
    mesh = reader.get("Mesh", "", secret.mesh)
    backend = mesh.spec.enabled_ca if mesh is not None else None
    if backend is None or secret.name not in _secrets_of(secret.mesh, backend):
        return
    yield FieldError(
        "name",
        f'The secret "{secret.name}" that you are trying to remove is currently in use in Mesh '
        f'"{secret.mesh}" in mTLS backend "{backend.name}". Please remove the reference from the '
        f'"{backend.name}" backend before removing the secret.',
    )


def _secrets_of(mesh: str, backend: object) -> set[str]:
    name, conf = getattr(backend, "name", ""), getattr(backend, "conf", None) or {}
    if getattr(backend, "type", "") == "builtin":
        return {f"{mesh}.ca-builtin-cert-{name}", f"{mesh}.ca-builtin-key-{name}"}
    sources = (conf.get("cert"), conf.get("key"))
    return {str(source["secret"]) for source in sources if isinstance(source, dict) and source.get("secret")}
