"""MeshExternalService: a destination outside the mesh."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from mesh.kinds.base import Kds, Kind, Model, Port, default
from mesh.kinds.checks.meshexternalservice import validate
from mesh.kinds.checks.meshservice import warn
from mesh.kinds.common import Address, Extension, HostnameGeneratorStatus, Vip

TlsVersionName = Literal["TLSAuto", "TLS10", "TLS11", "TLS12", "TLS13"]


class Match(Model):
    """Under which port and protocol the mesh reaches it."""

    port: Port
    type: Literal["HostnameGenerator"] = default("HostnameGenerator")
    protocol: Literal["tcp", "grpc", "http", "http2"] = default("tcp")


class Endpoint(Model):
    """One address of it: an IP, a DNS name, or the path of a Unix socket. Lower priority goes first."""

    address: Annotated[str, Meta(min_length=1)]
    port: Port
    priority: Annotated[int, Meta(ge=0, le=128)] | None = None


class TlsVersion(Model):
    min: TlsVersionName = default("TLSAuto")
    max: TlsVersionName = default("TLSAuto")


class SubjectAltName(Model):
    value: str
    type: Literal["Exact", "Prefix"] = default("Exact")


class DataSource(Model):
    """Where bytes come from: a Secret of the mesh, base64 or text."""

    secret: str | None = None
    inline: str | None = None
    inline_string: str | None = None


class Verification(Model):
    """How the server's certificate is checked, and which one the proxy shows."""

    mode: Literal["SkipSAN", "SkipCA", "Secured", "SkipAll"] = default("Secured")
    server_name: str | None = None
    subject_alt_names: tuple[SubjectAltName, ...] | None = None
    ca_cert: DataSource | None = None
    client_cert: DataSource | None = None
    client_key: DataSource | None = None


class Tls(Model):
    """TLS that the proxy originates."""

    enabled: bool = default(False)
    version: TlsVersion | None = None
    allow_renegotiation: bool = default(False)
    verification: Verification | None = None


class MeshExternalService(Model):
    """A destination outside the mesh, reached through the zone's egress."""

    match: Match
    extension: Extension | None = None
    endpoints: tuple[Endpoint, ...] | None = None
    tls: Tls | None = None


class MeshExternalServiceStatus(Model):
    vip: Vip = msgspec.field(default_factory=Vip)
    addresses: tuple[Address, ...] = ()
    hostname_generators: tuple[HostnameGeneratorStatus, ...] = ()


MESH_EXTERNAL_SERVICE = Kind(
    name="MeshExternalService",
    scope="mesh",
    path="meshexternalservices",
    arg="meshexternalservice",
    short="extsvc",
    singular="Mesh External Service",
    plural="Mesh External Services",
    spec_type=MeshExternalService,
    status_type=MeshExternalServiceStatus,
    is_destination=True,
    kds=Kds.GLOBAL_TO_ZONES | Kds.ZONE_TO_GLOBAL,
    validate=validate,
    warn=warn,
)
