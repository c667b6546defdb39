"""Certificates that gateways show: users keep them as Secrets of a mesh, or in the MeshGateway itself."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from xds.config.admintls import sort_pem
from xds.config.backends import Item
from xds.config.identity import certificate_secret
from xds.engine import Context, derivation
from xds.types import SECRET, Encoded

_EC_PUBLIC_KEY = bytes.fromhex("2a8648ce3d0201")  # the object identifier inside a key of that kind
_DIGITS = 16


class Certificate(NamedTuple):
    """Where a certificate and its key are: in a Secret, or in `pem`."""

    secret: str = ""
    pem: bytes = b""


def certificates_of(sources: Iterable[Mapping[str, Any]]) -> Iterator[Certificate]:
    """The certificates in data sources. Files of a control plane are not read."""
    for source in sources:
        if name := source.get("secret"):
            yield Certificate(secret=str(name))
        elif text := source.get("inlineString"):
            yield Certificate(pem=str(text).encode())
        elif encoded := source.get("inline"):
            yield Certificate(pem=_decoded(str(encoded)))


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""


@derivation
def certificate_pem(ctx: Context, mesh: str, found: Certificate) -> bytes:
    """PEM blocks, one after the other; b"" while there are none."""
    if not found.secret:
        return found.pem
    resource = ctx.get("Secret", mesh, found.secret)
    return b"" if resource is None else bytes(resource.spec.value())


@derivation
def certificate_name(ctx: Context, mesh: str, found: Certificate) -> str:
    """The name under which a gateway refers to a certificate: by the kind of its key, and where it is."""
    _, keys = sort_pem(certificate_pem(ctx, mesh, found))
    kind = "ecdsa" if keys and _is_elliptic(keys[0]) else "rsa"
    return f"cert.{kind}.{found.secret or hashlib.sha256(found.pem).hexdigest()[:_DIGITS]}"


def _is_elliptic(key: bytes) -> bool:
    if b"BEGIN EC " in key:
        return True
    lines = [line.strip() for line in key.splitlines() if b"-----" not in line]
    return _EC_PUBLIC_KEY in _decoded(b"".join(lines).decode(errors="replace"))


def secret_items(ctx: Context, mesh: str, found: Iterable[Certificate]) -> Iterator[Item]:
    """The secrets of some certificates."""
    for certificate in found:
        yield Item(
            SECRET, certificate_name(ctx, mesh, certificate), user_certificate.query(mesh, certificate)
        )


@derivation
def user_certificate(ctx: Context, mesh: str, found: Certificate) -> Encoded | None:
    """A certificate and its key; None while it is not there."""
    pem = certificate_pem(ctx, mesh, found)
    if not pem:
        return None
    certificates, keys = sort_pem(pem)
    return certificate_secret(certificate_name(ctx, mesh, found), b"".join(certificates), b"".join(keys))
