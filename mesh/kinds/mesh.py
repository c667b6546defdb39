"""Mesh: the parent of Dataplanes and policies, and the settings that hold for all of them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import field

from mesh.kinds.base import Duration, Kds, Kind, Model, Tags
from mesh.kinds.checks.mesh import validate, warn

Conf = dict[str, Any]


class Rotation(Model):
    expiration: str = ""


class DpCert(Model):
    rotation: Rotation | None = None
    request_timeout: Duration | None = None


class RootChain(Model):
    request_timeout: Duration | None = None


class CertificateAuthorityBackend(Model):
    """One certificate authority. `conf` depends on `type`: builtin or provided."""

    name: str = ""
    type: str = ""
    dp_cert: DpCert | None = None
    conf: Conf | None = None
    mode: Literal["STRICT", "PERMISSIVE"] = "STRICT"
    root_chain: RootChain | None = None


class Mtls(Model):
    """mTLS of the whole mesh. It is on while `enabledBackend` names a backend."""

    enabled_backend: str = ""
    backends: tuple[CertificateAuthorityBackend, ...] = ()
    skip_validation: bool = False


class TracingBackend(Model):
    name: str = ""
    sampling: float | None = None
    type: str = ""
    conf: Conf | None = None


class Tracing(Model):
    default_backend: str = ""
    backends: tuple[TracingBackend, ...] = ()


class LoggingBackend(Model):
    name: str = ""
    format: str = ""
    type: str = ""
    conf: Conf | None = None


class Logging(Model):
    default_backend: str = ""
    backends: tuple[LoggingBackend, ...] = ()


class MetricsBackend(Model):
    name: str = ""
    type: str = ""
    conf: Conf | None = None


class Metrics(Model):
    enabled_backend: str = ""
    backends: tuple[MetricsBackend, ...] = ()


class Outbound(Model):
    passthrough: bool | None = None


class Networking(Model):
    outbound: Outbound | None = None


class Routing(Model):
    locality_aware_load_balancing: bool = False
    zone_egress: bool = False
    default_forbid_mesh_external_service_access: bool = False


class TagRule(Model):
    """Tags that a Dataplane must carry (requirement) or must not (restriction); "*" is any value."""

    tags: Tags | None = None


class DataplaneProxyConstraints(Model):
    requirements: tuple[TagRule, ...] = ()
    restrictions: tuple[TagRule, ...] = ()


class Constraints(Model):
    dataplane_proxy: DataplaneProxyConstraints | None = None


class MeshServices(Model):
    mode: Literal["Disabled", "Everywhere", "ReachableBackends", "Exclusive"] = "Disabled"


class Mesh(Model):
    """A mesh."""

    mtls: Mtls | None = field(default=None, name="mtls")
    tracing: Tracing | None = None
    logging: Logging | None = None
    metrics: Metrics | None = None
    networking: Networking | None = None
    routing: Routing | None = None
    constraints: Constraints | None = None
    skip_creating_initial_policies: tuple[str, ...] = ()
    mesh_services: MeshServices | None = None

    @property
    def enabled_ca(self) -> CertificateAuthorityBackend | None:
        """The authority that issues certificates now, or None while mTLS is off."""
        if self.mtls is None or not self.mtls.enabled_backend:
            return None
        wanted = self.mtls.enabled_backend
        return next((b for b in self.mtls.backends if b.name == wanted), None)

    @property
    def mesh_services_mode(self) -> str:
        return self.mesh_services.mode if self.mesh_services else "Disabled"

    @property
    def passthrough(self) -> bool:
        """Whether traffic to unknown destinations passes through; on unless switched off."""
        outbound = self.networking.outbound if self.networking else None
        return outbound is None or outbound.passthrough is not False

    @property
    def zone_egress(self) -> bool:
        return self.routing is not None and self.routing.zone_egress


MESH = Kind(
    name="Mesh",
    scope="global",
    path="meshes",
    arg="mesh",
    short="m",
    singular="Mesh",
    plural="Meshes",
    spec_type=Mesh,
    wrapped=False,
    kds=Kds.GLOBAL_TO_ZONES,
    hashed_name=False,
    has_insight="MeshInsight",
    validate=validate,
    warn=warn,
)
