"""MeshIdentity and MeshTrust: who proxies are, and whose word for it is taken."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from mesh.kinds.base import Duration, Kds, Kind, Model
from mesh.kinds.checks.identity import validate_identity, validate_trust
from mesh.kinds.common import Condition, LabelSelector


class IdentitySelector(Model):
    dataplane: LabelSelector | None = None


class SpiffeId(Model):
    """Templates of the parts of the identity."""

    trust_domain: str | None = None
    path: str | None = None


class EnvVar(Model):
    name: str


class File(Model):
    path: str


class InsecureInline(Model):
    value: str


class SecretRef(Model):
    kind: Literal["Secret"]
    name: str


class SecureDataSource(Model):
    """Where a key or certificate comes from."""

    type: Literal["File", "Secret", "EnvVar", "InsecureInline"]
    file: File | None = None
    secret_ref: SecretRef | None = None
    env_var: EnvVar | None = None
    insecure_inline: InsecureInline | None = None


class Ca(Model):
    certificate: SecureDataSource | None = None
    private_key: SecureDataSource | None = None


class Autogenerate(Model):
    enabled: bool | None = None


class CertificateParameters(Model):
    expiry: Duration | None = None


class Bundled(Model):
    """The control plane itself issues certificates."""

    mesh_trust_creation: Literal["Enabled", "Disabled"] | None = None
    insecure_allow_self_signed: bool | None = None
    certificate_parameters: CertificateParameters | None = None
    autogenerate: Autogenerate | None = None
    ca: Ca | None = None


class SpireAgent(Model):
    timeout: Duration | None = None


class Spire(Model):
    """The SPIRE agent beside the proxy issues certificates."""

    agent: SpireAgent | None = None


class ProviderExtension(Model):
    name: str
    config: Any = None


class Provider(Model):
    type: Literal["Bundled", "Spire", "Extension"]
    bundled: Bundled | None = None
    spire: Spire | None = None
    extension: ProviderExtension | None = None


class MeshIdentity(Model):
    """Gives the selected proxies a SPIFFE identity."""

    selector: IdentitySelector | None = None
    spiffe_id: SpiffeId | None = field(default=None, name="spiffeID")
    provider: Provider | None = None


class MeshIdentityStatus(Model):
    conditions: tuple[Condition, ...] = ()


class Pem(Model):
    value: str


class CaBundle(Model):
    type: Literal["Pem"]
    pem: Pem | None = None


class Origin(Model):
    """The resource that made this one."""

    kri: str | None = None


class MeshTrust(Model):
    """Certificates of authorities that are believed about one trust domain."""

    ca_bundles: Annotated[tuple[CaBundle, ...], Meta(min_length=1)]
    trust_domain: Annotated[str, Meta(max_length=253)]
    origin: Origin | None = None


class MeshTrustStatus(Model):
    origin: Origin | None = None


MESH_IDENTITY = Kind(
    name="MeshIdentity",
    scope="mesh",
    path="meshidentities",
    arg="meshidentity",
    short="mid",
    singular="Mesh Identity",
    plural="Mesh Identities",
    spec_type=MeshIdentity,
    status_type=MeshIdentityStatus,
    kds=Kds.GLOBAL_TO_ZONES | Kds.ZONE_TO_GLOBAL,
    validate=validate_identity,
)

MESH_TRUST = Kind(
    name="MeshTrust",
    scope="mesh",
    path="meshtrusts",
    arg="meshtrust",
    short="mtrust",
    singular="Mesh Trust",
    plural="Mesh Trusts",
    spec_type=MeshTrust,
    status_type=MeshTrustStatus,
    kds=Kds.GLOBAL_TO_ZONES | Kds.ZONE_TO_GLOBAL,
    validate=validate_trust,
)
