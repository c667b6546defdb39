"""The seam to whoever issues certificates: secrets are no function of the mesh, they are made and expire.

A plan says which identity its proxy needs; a provider answers with the secrets under the names that
clusters and listeners refer to. Until it answers, Envoy waits with what needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from xds.config.draft import Draft, serialized
from xds.encode import encode
from xds.types import SECRET, Encoded

SECRET_MESSAGE = "envoy.extensions.transport_sockets.tls.v3.Secret"


class Identity(NamedTuple):
    """The certificates a proxy needs.

    identity_secret, ca_secret: names of the secrets; ca_secret is "" when the plan itself has it.
    services, tags: what the certificate says of the proxy. provider: name of a MeshIdentity, "" for
    the mesh's own authority.
    """

    mesh: str
    dataplane: str
    identity_secret: str
    ca_secret: str
    services: tuple[str, ...]
    tags: tuple[tuple[str, str], ...]
    provider: str = ""
    spiffe_id: str = ""


class IdentityHandle(Protocol):
    """The secrets of one proxy while it is connected."""

    def secrets(self) -> Mapping[str, Encoded]:
        """The secrets that exist now, by name; may be empty while they are made."""

    def close(self) -> None:
        """The proxy left, or needs another identity. Idempotent."""


class IdentityProvider(Protocol):
    """Issues and renews the certificates of proxies."""

    def open(self, identity: Identity, on_change: Callable[[], None]) -> IdentityHandle:
        """Start to provide. `on_change` is called on the loop, never before `open` returns."""


class _NoSecrets:
    def secrets(self) -> Mapping[str, Encoded]:
        return {}

    def close(self) -> None:
        return None


class NoIdentities:
    """A provider that has none: for meshes without mTLS."""

    def open(self, identity: Identity, on_change: Callable[[], None]) -> IdentityHandle:
        return _NoSecrets()


def certificate_secret(name: str, chain: bytes, key: bytes) -> Encoded:
    """A certificate (PEM chain) with its private key (PEM)."""
    certificate = {"certificate_chain": {"inline_bytes": chain}, "private_key": {"inline_bytes": key}}
    return _secret(name, {"name": name, "tls_certificate": certificate})


def authority_secret(name: str, roots: bytes) -> Encoded:
    """The authorities (PEM) that a peer's certificate has to come from."""
    return _secret(name, {"name": name, "validation_context": {"trusted_ca": {"inline_bytes": roots}}})


def _secret(name: str, draft: Draft) -> Encoded:
    return encode(SECRET, name, serialized(SECRET_MESSAGE, draft))
