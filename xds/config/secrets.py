"""Certificates that users keep as Secrets of a mesh, for gateways to show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from xds.config.backends import Item
from xds.config.identity import certificate_secret
from xds.engine import Context, derivation
from xds.types import SECRET, Encoded

_KEY_BEGIN = b"-----BEGIN"
_KEY_MARK = b"PRIVATE KEY-----"
_END = b"-----END"


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
    keys, certificates = _sorted_out(resource.spec.value())
    return certificate_secret(secret_name(secret), certificates, keys)


def _sorted_out(pem: bytes) -> tuple[bytes, bytes]:
    """(private keys, everything else) of a bundle of PEM blocks."""
    keys: list[bytes] = []
    others: list[bytes] = []
    block: list[bytes] = []
    for line in pem.splitlines(keepends=True):
        block.append(line)
        if line.startswith(_END):
            is_key = any(part.startswith(_KEY_BEGIN) and _KEY_MARK in part for part in block)
            (keys if is_key else others).extend(block)
            block = []
    return b"".join(keys), b"".join(others)
