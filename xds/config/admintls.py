"""Who may open the admin interface of a proxy: the secret `envoy-admin-ca`, which all replicas share.

It holds, as PEM blocks one after the other, the authority's certificate and key, and the certificate and
key that the admin listener shows. The listener lets in whom the authority vouches for as the control plane.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from xds.engine import Context, derivation

ADMIN_CA = "envoy-admin-ca"
CONTROL_PLANE_NAME = "kuma-cp"

_BEGIN, _END, _KEY = b"-----BEGIN", b"-----END", b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class AdminTls:
    """PEM of the certificate that the admin listener of a proxy shows, and of the authority it trusts."""

    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    ca: bytes = field(repr=False)


class Sorted(NamedTuple):
    """The blocks of a PEM bundle, in their order."""

    certificates: tuple[bytes, ...]
    keys: tuple[bytes, ...]


def sort_pem(pem: bytes) -> Sorted:
    """Private keys apart from everything else."""
    keys: list[bytes] = []
    others: list[bytes] = []
    block: list[bytes] = []
    for line in pem.splitlines(keepends=True):
        block.append(line)
        if line.startswith(_END):
            is_key = any(part.startswith(_BEGIN) and _KEY in part for part in block)
            (keys if is_key else others).append(b"".join(block))
            block = []
    return Sorted(tuple(others), tuple(keys))


@derivation
def admin_tls(ctx: Context) -> AdminTls | None:
    """What admin listeners show and believe; None while there is no authority."""
    secret = ctx.get("GlobalSecret", "", ADMIN_CA)
    if secret is None:
        return None
    certificates, keys = sort_pem(secret.spec.value())
    if len(certificates) < 2 or len(keys) < 2:
        return None
    return AdminTls(certificate=certificates[1], key=keys[1], ca=certificates[0])
