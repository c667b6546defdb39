"""The cluster's certificate authority and each replica's certificate.

A replica is who its certificate says it is: the subject alternative name holds the URI
`raftmesh://<cluster id>/<node id>` (the idea is SPIFFE's), and the common name the node
id for people who read certificates. The cluster id is a hash of the CA certificate, so
nobody types it, and two clusters cannot be confused as long as they do not share a CA.

Layout of a directory, which every replica may share except for `ca.key`:

    ca.pem ca.key          the authority; keep ca.key off the replicas
    <node id>.pem .key     one replica

`ca.pem` may hold more certificates than one. The first one names the cluster, the others
are trusted too: that is how an authority is replaced without stopping the cluster.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from raftstore.datadir import sync_dir
from raftstore.errors import StoreError

CA_CERT, CA_KEY = "ca.pem", "ca.key"
CA_DAYS = 3650
NODE_DAYS = 825  # what common TLS stacks accept at most for a leaf
CLOCK_SKEW = datetime.timedelta(minutes=5)

_NODE_ID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_SCHEME = "raftmesh"


class BadCertificate(StoreError):
    """A certificate, key or node id is missing, unreadable, expired or names somebody else."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a certificate speaks for."""

    cluster_id: str
    node_id: str

    def uri(self) -> str:
        return f"{_SCHEME}://{self.cluster_id}/{self.node_id}"


def check_node_id(node_id: str) -> str:
    """Returns it. Raises BadCertificate when it cannot be a host label, file name and URI part at once."""
    if not _NODE_ID.fullmatch(node_id):
        raise BadCertificate(
            f"node id {node_id!r}: use 1 to 63 letters, digits, '.', '_' or '-', starting and ending "
            "with a letter or digit"
        )
    return node_id


def create_ca(directory: Path | str, *, days: int = CA_DAYS) -> str:
    """Make ca.pem and ca.key in `directory`; returns the new cluster's id. Never overwrites."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / CA_CERT).exists() or (directory / CA_KEY).exists():
        raise BadCertificate(f"{directory / CA_CERT} or {CA_KEY} exists already; it will not be overwritten")
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name("raftmesh cluster CA")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(subject, subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_pair(directory / CA_CERT, certificate, directory / CA_KEY, key)
    return cluster_id(directory / CA_CERT)


def issue(directory: Path | str, node_id: str, hosts: Iterable[str] = (), *, days: int = NODE_DAYS) -> Path:
    """Make `<node_id>.pem` and `.key` in `directory`, signed by the CA there; returns the .pem path.

    hosts: DNS names and IP addresses of the replica, for tools that check them; replicas
    check the node id. An existing certificate of that node is replaced (renewal).
    """
    directory = Path(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(directory, node_id, key.public_key(), hosts, days)
    path = directory / f"{node_id}.pem"
    _write_pair(path, certificate, directory / f"{node_id}.key", key)
    return path


def sign_request(directory: Path | str, node_id: str, request: bytes, *, days: int = NODE_DAYS) -> bytes:
    """The certificate (PEM) of `node_id` for the key of a certificate request (PEM).

    Of the request, only its key counts. Raises BadCertificate.
    """
    try:
        csr = x509.load_pem_x509_csr(request)
        proven, key = csr.is_signature_valid, csr.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadCertificate(f"the certificate request is not in PEM form ({error})") from error
    if not proven or not isinstance(key, ec.EllipticCurvePublicKey):
        raise BadCertificate("the certificate request is not signed by an elliptic-curve key of its own")
    certificate = _sign(Path(directory), node_id, key, (), days)
    return certificate.public_bytes(serialization.Encoding.PEM)


def save_node(directory: Path | str, node_id: str, ca: bytes, certificate: bytes, key: bytes) -> None:
    """Write what one replica needs, as `issue` and `create_ca` would have. Another cluster's CA is not replaced.

    ca, certificate, key: PEM. Raises BadCertificate, OSError.
    """
    directory = Path(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / CA_CERT
    if path.exists() and path.read_bytes() != ca:
        raise BadCertificate(f"{path} exists already and is of another cluster; use another directory")
    _write(directory / f"{node_id}.key", key, 0o600)
    _write(path, ca, 0o644)
    _write(directory / f"{node_id}.pem", certificate, 0o644)


def _sign(
    directory: Path, node_id: str, key: ec.EllipticCurvePublicKey, hosts: Iterable[str], days: int
) -> x509.Certificate:
    check_node_id(node_id)
    ca, ca_key = _load_ca(directory)
    identity = Identity(cluster_id(directory / CA_CERT), node_id)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri())]
    names += [_host(host) for host in hosts]
    return (
        _builder(_name(node_id), ca.subject, key, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(authority, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def cluster_id(ca_path: Path | str) -> str:
    """The id of the cluster whose CA this is: 128 bits of the SHA-256 of its first certificate."""
    der = _first_certificate(Path(ca_path)).public_bytes(serialization.Encoding.DER)
    return hashlib.sha256(der).hexdigest()[:32]


def check_node(directory: Path | str, node_id: str, now: datetime.datetime | None = None) -> Identity:
    """The identity that `directory` gives to `node_id`. Raises BadCertificate naming file and remedy."""
    directory = Path(directory)
    check_node_id(node_id)
    path = directory / f"{node_id}.pem"
    certificate = _first_certificate(path)
    now = now or datetime.datetime.now(datetime.UTC)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise BadCertificate(
            f"{path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and now is {now:%Y-%m-%d %H:%M}; "
            f"renew it with `raftmesh cert node {node_id}`"
        )
    expected = Identity(cluster_id(directory / CA_CERT), node_id)
    found = _uris(certificate)
    if found != [expected.uri()]:
        raise BadCertificate(
            f"{path} identifies {', '.join(found) or 'nobody'}, and this replica is {expected.uri()}"
        )
    return expected


def peer_identity(peer_certificate: Mapping[str, Any]) -> Identity:
    """The identity in a verified certificate, as ssl.SSLObject.getpeercert() gives it."""
    uris = [value for kind, value in peer_certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) != 1:
        raise BadCertificate(f"the certificate holds {len(uris)} URIs; one {_SCHEME}:// URI is needed")
    scheme, _, rest = uris[0].partition("://")
    cluster, _, node = rest.partition("/")
    if scheme != _SCHEME or not cluster or not _NODE_ID.fullmatch(node):
        raise BadCertificate(f"the certificate's URI {uris[0]!r} is not {_SCHEME}://<cluster id>/<node id>")
    names = [
        value for part in peer_certificate.get("subject", ()) for kind, value in part if kind == "commonName"
    ]
    if names != [node]:
        raise BadCertificate(f"the certificate's common name {names} disagrees with its URI {uris[0]!r}")
    return Identity(cluster, node)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _read(path: Path, remedy: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadCertificate(f"cannot read {path}: {error.strerror}; {remedy}") from error


def _first_certificate(path: Path) -> x509.Certificate:
    data = _read(path, "make it with `raftmesh cert`")
    try:
        return x509.load_pem_x509_certificates(data)[0]
    except ValueError as error:
        raise BadCertificate(f"{path} holds no certificate in PEM form ({error})") from error


def _load_ca(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """The signing certificate is the one of ca.pem that fits ca.key: during a replacement, the second."""
    remedy = "only who holds the CA's key can issue certificates"
    try:
        key = serialization.load_pem_private_key(_read(directory / CA_KEY, remedy), password=None)
        bundle = x509.load_pem_x509_certificates(
            _read(directory / CA_CERT, "make it with `raftmesh cert ca`")
        )
    except ValueError as error:
        raise BadCertificate(f"{directory / CA_CERT} or {CA_KEY} is not in PEM form ({error})") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadCertificate(f"{directory / CA_KEY} is not an elliptic-curve key")
    for certificate in bundle:
        if certificate.public_key() == key.public_key():
            return certificate, key
    raise BadCertificate(f"{directory / CA_KEY} belongs to no certificate of {directory / CA_CERT}")


def _write_pair(
    cert_path: Path, certificate: x509.Certificate, key_path: Path, key: ec.EllipticCurvePrivateKey
) -> None:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(key_path, private, 0o600)
    _write(cert_path, certificate.public_bytes(pem), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all, durably, and never readable by others even for a moment."""
    temporary = path.with_name(path.name + ".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(data)
        file.flush()
        os.fsync(fd)
    temporary.rename(path)
    sync_dir(path.parent)
