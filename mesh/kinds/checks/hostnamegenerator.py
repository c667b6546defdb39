"""What has to hold of a HostnameGenerator: its template renders to host names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mesh.dnsnames import subdomain_faults
from mesh.errors import FieldError
from mesh.kinds.checks.common import Errors
from mesh.reader import Reader
from mesh.resource import Resource
from mesh.templates import TemplateError, parse

if TYPE_CHECKING:
    from mesh.kinds.hostnamegenerator import HostnameGenerator

# A destination to try the template on.
_SAMPLE = {
    "Name": "name",
    "DisplayName": "name",
    "Namespace": "namespace",
    "Mesh": "mesh",
    "Zone": "zone",
}
_TEMPLATE = "spec.template"


class _AnyLabel(dict[str, str]):
    """Labels of a destination that has them all."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> str:
        return "label"


def validate(resource: Resource, reader: Reader) -> Errors:
    generator: HostnameGenerator = resource.spec
    yield from _template(generator.template)
    selector = generator.selector
    if generator.extension is not None and not generator.extension.type:
        yield FieldError("spec.extension.type", "must not be empty")
    chosen = (
        ()
        if selector is None
        else (selector.mesh_service, selector.mesh_external_service, selector.mesh_multi_zone_service)
    )
    if sum(part is not None for part in chosen) != 1:
        message = "exact one selector (meshService, meshExternalService) must be defined"
        yield FieldError("spec.selector", message)


def _template(text: str) -> Errors:
    if not text:
        yield FieldError(_TEMPLATE, "must not be empty")
        return
    try:
        rendered = parse(text).render(_SAMPLE, _AnyLabel())
    except TemplateError as error:
        yield FieldError(_TEMPLATE, f"couldn't parse template: {error}")
        return
    for fault in subdomain_faults(rendered):
        message = f'template renders to "{rendered}" which is not a valid DNS name: {fault}'
        yield FieldError(_TEMPLATE, message)
