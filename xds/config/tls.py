"""mTLS between proxies: transport sockets that name their secrets, and the secrets' names.

Certificates never appear in clusters and listeners: those name secrets, which come over the same
stream. So rotating a certificate changes one small resource of one proxy, and a cluster can be
shared by all clients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mesh import naming
from xds.config.draft import ADS, Draft, Typed, named
from xds.config.facts import Destination, MeshFacts, Port

TLS = "envoy.extensions.transport_sockets.tls.v3."
SOCKET = "envoy.transport_sockets.tls"
ALPN_MESH = "kuma"


@dataclass(frozen=True, slots=True)
class Security:
    """How a proxy takes part in mTLS: names of its secrets and of the identities it trusts.

    trust_prefixes: identities that may connect begin with one of them. spiffe: identities come from a
    MeshIdentity, so destinations are known by the ids they declare.
    """

    identity_secret: str
    ca_secret: str
    trust_prefixes: tuple[str, ...]
    spiffe: bool = False
    permissive: bool = False

    def for_anybody(self) -> Security:
        """The same, letting in whoever a trusted authority vouches for."""
        return replace(self, trust_prefixes=())


def mesh_security(mesh: MeshFacts, *, unified: bool) -> Security | None:
    """The security of a proxy whose certificates come from the mesh's own authority."""
    if not mesh.ca:
        return None
    return Security(
        identity_secret=naming.identity_secret_name(mesh.name, unified=unified),
        ca_secret=naming.ca_secret_name(mesh.name, unified=unified),
        trust_prefixes=(f"spiffe://{mesh.name}/",),
        permissive=mesh.permissive,
    )


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """TLS of a cluster: our secrets, who must answer, and the server name to ask for."""

    identity_secret: str
    ca_secret: str
    sans: tuple[str, ...]
    sni: str


def upstream_tls(
    security: Security, destination: Destination, port: Port, egress_ids: tuple[str, ...] = ()
) -> UpstreamTls | None:
    """TLS towards a port of a destination; None while its proxies cannot all do TLS.

    egress_ids: who answers for a destination outside the mesh.
    """
    if not destination.tls_ready:
        return None
    sans = egress_ids if destination.kind == "MeshExternalService" else tuple(_sans(security, destination))
    return UpstreamTls(
        security.identity_secret, security.ca_secret, sans, sni_of(security, destination, port)
    )


def _sans(security: Security, destination: Destination) -> Iterable[str]:
    kinds = ("SpiffeID", "ServiceTag") if security.spiffe else ("ServiceTag",)
    for wanted in kinds:
        for kind, value in destination.identities:
            if kind == wanted:
                yield value if kind == "SpiffeID" else f"spiffe://{destination.mesh}/{value}"


def sni_of(security: Security | None, destination: Destination, port: Port) -> str:
    """The server name of a port: of the new form for SPIFFE identities, of the old one otherwise."""
    if security is None or security.spiffe:
        short = naming.short_name(destination.kind)
        place = [part for part in (destination.zone, destination.zone and destination.namespace) if part]
        name = (destination.display_name, port.section)
        return ".".join(("sni", short, destination.mesh, *place, *name))
    return naming.sni_of_resource(destination.kind, destination.mesh, destination.display_name, port.number)


def service_tls(security: Security, mesh: str, service: str, sni: str) -> UpstreamTls:
    """TLS towards a service known by its tag."""
    return UpstreamTls(security.identity_secret, security.ca_secret, (f"spiffe://{mesh}/{service}",), sni)


def upstream_socket(tls: UpstreamTls) -> Draft:
    """The transport socket of a cluster."""
    context = _common(tls.identity_secret, tls.ca_secret, [{"exact": san} for san in tls.sans])
    context["alpn_protocols"] = [ALPN_MESH]
    return named(SOCKET, TLS + "UpstreamTlsContext", {"common_tls_context": context, "sni": tls.sni})


def member_socket(security: Security) -> Draft:
    """The transport socket of a cluster that may lead to any member of the mesh."""
    prefixes = [{"prefix": prefix} for prefix in security.trust_prefixes]
    context = _common(security.identity_secret, security.ca_secret, prefixes)
    context["alpn_protocols"] = [ALPN_MESH]
    return named(SOCKET, TLS + "UpstreamTlsContext", {"common_tls_context": context})


def downstream_socket(security: Security) -> Draft:
    """The transport socket of an inbound filter chain: only members of the mesh get in."""
    context = _common(
        security.identity_secret,
        security.ca_secret,
        [{"prefix": prefix} for prefix in security.trust_prefixes],
    )
    fields = {"common_tls_context": context, "require_client_certificate": {"value": True}}
    return named(SOCKET, TLS + "DownstreamTlsContext", fields)


def server_socket(certificates: tuple[str, ...]) -> Draft:
    """The transport socket of a gateway: its certificates, and clients that need not have any."""
    context: Draft = {
        "tls_certificate_sds_secret_configs": [_sds(name) for name in certificates],
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
    }
    fields = {"common_tls_context": context, "require_client_certificate": {"value": False}}
    return named(SOCKET, TLS + "DownstreamTlsContext", fields)


def file_socket(certificate: str, key: str) -> Draft:
    """The transport socket of a listener that anybody may open: a certificate from files."""
    pair = {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}
    context = {"tls_certificates": [pair]}
    fields = {"common_tls_context": context, "require_client_certificate": {"value": False}}
    return named(SOCKET, TLS + "DownstreamTlsContext", fields)


def _common(identity: str, ca: str, matchers: list[Draft]) -> Draft:
    sans = [{"san_type": "URI", "matcher": matcher} for matcher in matchers]
    return {
        "tls_certificate_sds_secret_configs": [_sds(identity)],
        "combined_validation_context": {
            "default_validation_context": {"match_typed_subject_alt_names": sans} if sans else {},
            "validation_context_sds_secret_config": _sds(ca),
        },
    }


def _sds(name: str) -> Draft:
    return {"name": name, "sds_config": ADS}


def common_context(socket: Draft) -> Draft:
    """The CommonTlsContext inside a transport socket, to be edited."""
    typed: Typed = socket["typed_config"]
    context: Draft = typed["common_tls_context"]
    return context
