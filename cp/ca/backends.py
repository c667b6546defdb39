"""Where the certificate authority of a mesh is: a pure function of the view (and, if a user says so, files).

`builtin`: two Secrets of the mesh that the control plane makes itself, named as Kuma names them, so that
a mesh that moves here keeps its authority. `provided`: what the user gave, as a DataSource each for the
certificate and the key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cp.ca.x509 import NoAuthority, Pair
from mesh.durations import long_duration_ms
from mesh.kinds.mesh import CertificateAuthorityBackend
from mesh.reader import Reader

BUILTIN, PROVIDED = "builtin", "provided"
CA_LIFETIME = "10y"
LEAF_LIFETIME = "24h"
# Smaller RSA keys are broken, larger ones take minutes to make.
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192
FILE_BYTES_MAX = 1 << 20
# Below this the certificates of a mesh would be renewed all the time.
LEAF_LIFETIME_S_MIN = 10.0


@dataclass(frozen=True, slots=True)
class Backend:
    """An authority that issues, and for how long. Equal as long as nobody needs another certificate."""

    name: str
    pair: Pair
    leaf_lifetime_s: float


def cert_secret(mesh: str, backend: str) -> str:
    """The name of the Secret that holds a builtin authority's certificate."""
    return f"{mesh}.ca-builtin-cert-{backend}"


def key_secret(mesh: str, backend: str) -> str:
    """The name of the Secret that holds a builtin authority's private key."""
    return f"{mesh}.ca-builtin-key-{backend}"


def enabled(reader: Reader, mesh: str) -> CertificateAuthorityBackend | None:
    """The backend that a mesh has switched on; None without mTLS."""
    resource = reader.get("Mesh", "", mesh)
    backend: CertificateAuthorityBackend | None = resource.spec.enabled_ca if resource is not None else None
    return backend


def backend_of(reader: Reader, mesh: str) -> Backend | None:
    """The authority of a mesh; None while mTLS is off. Raises NoAuthority while it is not to be had."""
    found = enabled(reader, mesh)
    if found is None:
        return None
    if found.type == BUILTIN:
        names = cert_secret(mesh, found.name), key_secret(mesh, found.name)
        certificate, key = (_secret(reader, mesh, name) for name in names)
    elif found.type == PROVIDED:
        conf = found.conf or {}
        certificate, key = (_source(reader, mesh, conf.get(field), field) for field in ("cert", "key"))
    else:
        raise NoAuthority(f"mtls.backends: {found.type!r} is not known here; known: {BUILTIN}, {PROVIDED}")
    return Backend(found.name, Pair(certificate, key), leaf_lifetime_s(found))


def leaf_lifetime_s(backend: CertificateAuthorityBackend) -> float:
    """How long certificates of proxies are valid."""
    rotation = backend.dp_cert.rotation if backend.dp_cert is not None else None
    wanted_ms = long_duration_ms((rotation and rotation.expiration) or LEAF_LIFETIME)
    return max(wanted_ms / 1000, LEAF_LIFETIME_S_MIN)


def ca_settings(backend: CertificateAuthorityBackend) -> tuple[int, float]:
    """(bits of the RSA key, seconds of validity) of a builtin authority to be made."""
    conf = (backend.conf or {}).get("caCert") or {}
    bits = conf.get("RSAbits") or conf.get("rsaBits") or RSA_BITS_MIN
    expiration = conf.get("expiration") or CA_LIFETIME
    try:
        lifetime_s = long_duration_ms(str(expiration)) / 1000
        wanted = int(bits)
    except ValueError:
        lifetime_s, wanted = long_duration_ms(CA_LIFETIME) / 1000, RSA_BITS_MIN
    return min(max(wanted, RSA_BITS_MIN), RSA_BITS_MAX), lifetime_s


def _secret(reader: Reader, mesh: str, name: str) -> bytes:
    resource = reader.get("Secret", mesh, name)
    if resource is None:
        raise NoAuthority(f"there is no Secret {name!r} in mesh {mesh!r}")
    value: bytes = resource.spec.value()
    return value


def _source(reader: Reader, mesh: str, source: Any, field: str) -> bytes:
    """The bytes behind a DataSource."""
    given: Mapping[str, Any] = source if isinstance(source, Mapping) else {}
    if name := given.get("secret"):
        return _secret(reader, mesh, str(name))
    if text := given.get("inlineString"):
        return str(text).encode()
    if text := given.get("inline"):
        try:
            return base64.b64decode(str(text), validate=True)
        except (binascii.Error, ValueError):
            raise NoAuthority(f"conf.{field}.inline is no base64") from None
    if path := given.get("file"):
        try:
            with Path(str(path)).open("rb") as file:
                return file.read(FILE_BYTES_MAX)
        except OSError as error:
            raise NoAuthority(f"conf.{field}.file: {error}") from None
    raise NoAuthority(f"conf.{field} names no secret, file, inline or inlineString")
