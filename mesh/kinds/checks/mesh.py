"""What has to hold of a Mesh, and what must not change while its mTLS is on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mesh.durations import long_duration_ms
from mesh.errors import FieldError
from mesh.kinds.checks import backends, common
from mesh.kinds.checks.common import Errors
from mesh.limits import MESH_NAME_CHARS_MAX
from mesh.reader import Reader
from mesh.resource import Resource

if TYPE_CHECKING:
    from mesh.kinds.mesh import CertificateAuthorityBackend, Constraints, Mesh, Mtls

_CA_TYPES = ("builtin", "provided")
_BACKENDS_MAX = 1


def validate(resource: Resource, reader: Reader) -> Errors:
    mesh: Mesh = resource.spec
    if len(resource.name) > MESH_NAME_CHARS_MAX:
        yield FieldError("name", f"cannot be longer than {MESH_NAME_CHARS_MAX} characters")
    if mesh.mtls is not None:
        yield from _mtls(mesh.mtls)
    if mesh.logging is not None:
        yield from backends.logging(mesh.logging)
    if mesh.tracing is not None:
        yield from backends.tracing(mesh.tracing)
    if mesh.metrics is not None:
        yield from backends.metrics(mesh.metrics)
    if mesh.constraints is not None:
        yield from _constraints(mesh.constraints)
    if mesh.zone_egress and (mesh.mtls is None or not mesh.mtls.enabled_backend):
        yield FieldError("mtls", "has to be set when zoneEgress enabled")
    previous = reader.get("Mesh", "", resource.name)
    if previous is not None:
        yield from _ca_change(previous.spec, mesh)


def _mtls(mtls: Mtls) -> Errors:
    if len(mtls.backends) > _BACKENDS_MAX:
        yield FieldError("mtls.backends", f"cannot have more than {_BACKENDS_MAX} backends")
    yield from backends.names("mtls.backends", mtls.backends, required=False)
    message = "has to be set to one of the backends in the mesh"
    yield from backends.chosen("mtls.enabledBackend", mtls.enabled_backend, mtls.backends, message)
    for position, backend in enumerate(mtls.backends):
        yield from _ca(f"mtls.backends[{position}]", backend)


def _ca(path: str, backend: CertificateAuthorityBackend) -> Errors:
    rotation = backend.dp_cert.rotation if backend.dp_cert else None
    if rotation is not None and rotation.expiration:
        try:
            long_duration_ms(rotation.expiration)
        except ValueError:
            yield FieldError("mtls.dpcert.rotation.expiration", "has to be a valid format")
    if backend.type not in _CA_TYPES:
        yield FieldError(f"{path}.type", "could not find installed plugin for this type")
    elif backend.type == "provided":
        for part in ("cert", "key"):
            if not isinstance((backend.conf or {}).get(part), dict):
                yield FieldError(f"{path}.conf.{part}", "has to be defined")


def _constraints(constraints: Constraints) -> Errors:
    proxies = constraints.dataplane_proxy
    if proxies is None:
        return
    for name, rules in (("requirements", proxies.requirements), ("restrictions", proxies.restrictions)):
        for position, rule in enumerate(rules):
            yield from common.tag_rule(f"constraints.dataplaneProxy.{name}[{position}].tags", rule.tags)


def _ca_change(previous: Mesh, mesh: Mesh) -> Errors:
    """Certificates of the old authority would be refused at once by those of the new one."""
    was = previous.mtls.enabled_backend if previous.mtls else ""
    now = mesh.mtls.enabled_backend if mesh.mtls else ""
    if was and now and was != now:
        message = "Changing CA when mTLS is enabled is forbidden. Disable mTLS first and then change the CA"
        yield FieldError("mtls.enabledBackend", message)


def warn(resource: Resource) -> Iterable[str]:
    return ()
