"""SPIFFE identities of proxies (MeshIdentity), and whom they believe (MeshTrust)."""

from __future__ import annotations

from typing import NamedTuple

from mesh import naming
from mesh.identity import identity_for, is_ready, spiffe_id, trust_domain
from mesh.templates import TemplateError
from xds.config.draft import named, serialized
from xds.config.identity import SECRET_MESSAGE
from xds.config.tls import Security
from xds.encode import encode
from xds.engine import Context, derivation
from xds.types import SECRET, Encoded

VALIDATOR = "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"


class Spiffe(NamedTuple):
    """The identity of a proxy. kri, name: of its MeshIdentity. spire: certificates come from an agent."""

    kri: str
    name: str
    trust_domain: str
    spiffe_id: str


@derivation
def spiffe_of(ctx: Context, mesh: str, name: str, zone: str) -> Spiffe | None:
    """The identity that a Dataplane has now; None without one, or before it can be issued."""
    dataplane = ctx.get("Dataplane", mesh, name)
    identity = identity_for(ctx, dataplane) if dataplane is not None else None
    if dataplane is None or identity is None or not is_ready(identity):
        return None
    try:
        domain, own = trust_domain(identity, zone), spiffe_id(identity, dataplane, zone)
    except TemplateError:
        return None  # the identity's own status tells; without an id there is nothing to prove
    return Spiffe(naming.kri_of(identity), identity.name, domain, own)


@derivation
def trusts(ctx: Context, mesh: str) -> tuple[tuple[str, str], ...]:
    """(trust domain, PEM of its authorities) of a mesh, by domain."""
    found: dict[str, list[str]] = {}
    for resource in ctx.list("MeshTrust", mesh):
        pems = [bundle.pem.value for bundle in resource.spec.ca_bundles if bundle.pem is not None]
        found.setdefault(resource.spec.trust_domain, []).extend(pems)
    return tuple((domain, "\n".join(dict.fromkeys(found[domain]))) for domain in sorted(found))


def spiffe_security(found: Spiffe, domains: tuple[str, ...]) -> Security:
    """How a proxy with a SPIFFE identity takes part in mTLS: it lets in whom any trust vouches for."""
    believed = dict.fromkeys((found.trust_domain, *domains))
    return Security(
        identity_secret=found.kri,
        ca_secret=naming.TRUST_BUNDLE_SECRET,
        trust_prefixes=tuple(f"spiffe://{domain}/" for domain in believed),
        spiffe=True,
    )


@derivation
def trust_bundle(ctx: Context, mesh: str) -> Encoded:
    """Which authorities are believed about which trust domain."""
    domains = [
        {"name": domain, "trust_bundle": {"inline_bytes": pem.encode()}} for domain, pem in trusts(ctx, mesh)
    ]
    validator = named("envoy.tls.cert_validator.spiffe", VALIDATOR, {"trust_domains": domains})
    name = naming.TRUST_BUNDLE_SECRET
    draft = {"name": name, "validation_context": {"custom_validator_config": validator}}
    return encode(SECRET, name, serialized(SECRET_MESSAGE, draft))
