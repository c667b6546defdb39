"""Certificates that users keep as Secrets of a mesh, for gateways to show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xds.config.admintls import sort_pem
from xds.config.backends import Item
from xds.config.identity import certificate_secret
from xds.engine import Context, derivation
from xds.types import SECRET, Encoded


def secret_name(secret: str) -> str:
    """The name under which a gateway refers to a Secret that holds a certificate."""
    return f"cert.rsa.{secret}"


def secret_items(mesh: str, secrets: Iterable[str]) -> Iterator[Item]:
    """The certificates in some Secrets."""
    for secret in secrets:
        yield Item(SECRET, secret_name(secret), user_certificate.query(mesh, secret))


@derivation
def user_certificate(ctx: Context, mesh: str, secret: str) -> Encoded | None:
    """The certificate and key in a Secret: PEM blocks, one after the other. None while it is not there."""
    resource = ctx.get("Secret", mesh, secret)
    if resource is None:
        return None
    certificates, keys = sort_pem(resource.spec.value())
    return certificate_secret(secret_name(secret), b"".join(certificates), b"".join(keys))
