"""MeshGateway: the listeners of builtin gateways."""

from __future__ import annotations

from typing import Literal

from mesh.kinds.base import Kds, Kind, Model, Tags, UInt32
from mesh.kinds.checks.meshgateway import validate
from mesh.kinds.common import DataSource


class Selector(Model):
    """Selects gateway Dataplanes by tags."""

    match: Tags | None = None


class TlsOptions(Model):
    """No options exist yet."""


class Tls(Model):
    mode: Literal["NONE", "TERMINATE", "PASSTHROUGH"] = "NONE"
    certificates: tuple[DataSource, ...] = ()
    options: TlsOptions | None = None


class Resources(Model):
    connection_limit: UInt32 = 0


class Listener(Model):
    """A port of the gateway, for one host name or for all."""

    hostname: str = ""
    port: UInt32 = 0
    protocol: Literal["NONE", "TCP", "TLS", "HTTP", "HTTPS"] = "NONE"
    tls: Tls | None = None
    tags: Tags | None = None
    cross_mesh: bool = False
    resources: Resources | None = None


class Conf(Model):
    listeners: tuple[Listener, ...] = ()


class MeshGateway(Model):
    """What the selected gateway Dataplanes listen on."""

    selectors: tuple[Selector, ...] = ()
    tags: Tags | None = None
    conf: Conf | None = None


MESH_GATEWAY = Kind(
    name="MeshGateway",
    scope="mesh",
    path="meshgateways",
    arg="meshgateway",
    short="mgw",
    singular="Mesh Gateway",
    plural="Mesh Gateways",
    spec_type=MeshGateway,
    wrapped=False,
    kds=Kds.GLOBAL_TO_ZONES | Kds.ZONE_TO_GLOBAL,
    validate=validate,
)
