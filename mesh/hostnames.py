"""Host names of destinations: what a HostnameGenerator makes of a service, and where the name holds.

A generator selects services by labels, the label of the origin included.  That one differs between clusters:
what a zone wrote is of origin "zone" there, and of origin "global" in the zones it was copied to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mesh import templates
from mesh.reader import Reader
from mesh.resource import K8S_NAMESPACE, ORIGIN, Resource

# API path of a destination -> the member of a generator's selector that is about it
SELECTORS: Mapping[str, str] = {
    "MeshService": "mesh_service",
    "MeshExternalService": "mesh_external_service",
    "MeshMultiZoneService": "mesh_multi_zone_service",
}


@dataclass(frozen=True, slots=True)
class Hostname:
    """A name of a service, and the zones where it is known, sorted."""

    hostname: str
    zones: tuple[str, ...]


def selects(generator: Resource, service: Resource, labels: Mapping[str, str]) -> bool:
    """Whether a generator names a service that carries these labels."""
    selector = generator.spec.selector
    chosen = getattr(selector, SELECTORS[service.kind]) if selector is not None else None
    if chosen is None:
        return False
    return all(labels.get(key) == value for key, value in (chosen.match_labels or {}).items())


def render(generator: Resource, service: Resource, zone: str) -> str:
    """The host name that a generator gives to a service; `zone` is for a service of no zone.

    Raises TemplateError.
    """
    fields = {
        "Name": service.name,
        "DisplayName": service.display_name,
        "Namespace": service.labels.get(K8S_NAMESPACE, ""),
        "Mesh": service.mesh,
        "Zone": service.zone or zone,
    }
    return templates.parse(generator.spec.template).render(fields, service.labels)


def hostnames(reader: Reader, service: Resource, *, on_global: bool) -> list[Hostname]:
    """All host names of a service, sorted.

    A zone sees the service as it is stored there.  Global sees it as its own zone and as the others do.
    Raises TemplateError.
    """
    origins = ("zone", "global") if on_global else (service.origin,)
    found: dict[str, set[str]] = {}
    for generator in reader.list("HostnameGenerator"):
        for origin in origins:
            if selects(generator, service, {**service.labels, ORIGIN: origin}):
                name = render(generator, service, service.zone)
                found.setdefault(name, set()).add(service.zone)
    return [Hostname(name, tuple(sorted(found[name]))) for name in sorted(found)]
