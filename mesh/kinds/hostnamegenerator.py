"""HostnameGenerator: how the destinations of the mesh get their host names."""

from __future__ import annotations

from mesh.kinds.base import Kds, Kind, Model
from mesh.kinds.checks.hostnamegenerator import validate
from mesh.kinds.common import Extension, LabelSelector


class Selector(Model):
    """Exactly one of these: what the generator names."""

    mesh_service: LabelSelector | None = None
    mesh_external_service: LabelSelector | None = None
    mesh_multi_zone_service: LabelSelector | None = None


class HostnameGenerator(Model):
    """Gives each selected destination the host name that its template renders to."""

    template: str
    selector: Selector | None = None
    extension: Extension | None = None


HOSTNAME_GENERATOR = Kind(
    name="HostnameGenerator",
    scope="global",
    path="hostnamegenerators",
    arg="hostnamegenerator",
    short="hg",
    singular="Hostname Generator",
    plural="Hostname Generators",
    spec_type=HostnameGenerator,
    kds=Kds.GLOBAL_TO_ZONES | Kds.ZONE_TO_GLOBAL,
    validate=validate,
)
