"""Making certificates: authorities of a mesh, and leaves that say which services a proxy is.

A proxy's certificate names it by URIs alone, as SPIFFE X.509-SVIDs do (https://github.com/spiffe/spiffe,
standards/X509-SVID.md): exactly what the other side's Envoy matches. Times are Unix seconds, so that
tests may choose them; everything is PEM.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
KeyType = Literal["ecdsa", "rsa"]

RSA_BITS = 2048
# Clocks differ: what is issued is valid a little earlier.
SKEW_S = 10

_PEM = serialization.Encoding.PEM


class NoAuthority(Exception):
    """What should be an authority's certificate and key is none; the message says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (a chain, if need be) and its private key, PEM. The key is never shown."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Leaf:
    """An issued pair, and when it ends (Unix seconds)."""

    pair: Pair
    not_before_s: float
    not_after_s: float


class Authority:
    """A pair that signs. Raises NoAuthority for bytes that cannot."""

    def __init__(self, pair: Pair) -> None:
        try:
            self.certificate = x509.load_pem_x509_certificates(pair.certificate)[0]
            key = serialization.load_pem_private_key(pair.key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise NoAuthority(f"no certificate with its key, both PEM: {error}") from None
        if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            raise NoAuthority("its key is neither RSA nor ECDSA")
        if key.public_key() != self.certificate.public_key():
            raise NoAuthority("the key is not the certificate's")
        if not _may_sign(self.certificate):
            raise NoAuthority("the certificate is no certificate authority's (basic constraints)")
        self._key = key
        # What peers are to trust: the whole chain that was given.
        self.roots = pair.certificate

    @property
    def not_after_s(self) -> float:
        return self.certificate.not_valid_after_utc.timestamp()

    def issue(
        self,
        now_s: float,
        lifetime_s: float,
        *,
        uris: Sequence[str] = (),
        dns: str = "",
        key: KeyType = "ecdsa",
    ) -> Leaf:
        """A leaf for both ends of a connection, with these names; it never outlives its authority."""
        private = new_key(key)
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        if dns:
            names.append(x509.DNSName(dns))
        begin, end = now_s - SKEW_S, min(now_s + lifetime_s, self.not_after_s)
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(private, self.certificate.subject, begin, end)
            .subject_name(x509.Name([]))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage("digital_signature", "key_encipherment"), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            # Critical, as there is no subject (RFC 5280, 4.2.1.6).
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return Leaf(Pair(certificate.public_bytes(_PEM), _private_bytes(private)), begin, end)


def new_authority(
    common_name: str,
    now_s: float,
    lifetime_s: float,
    *,
    uri: str = "",
    key_type: KeyType = "rsa",
    bits: int = RSA_BITS,
) -> Pair:
    """A self-signed authority."""
    key = new_key(key_type, bits)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Kuma"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Mesh"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(key, name, now_s - SKEW_S, now_s + lifetime_s)
        .subject_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .add_extension(identifier, critical=False)
    )
    if uri:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    return Pair(certificate.public_bytes(_PEM), _private_bytes(key))


def new_key(key: KeyType, bits: int = RSA_BITS) -> PrivateKey:
    """ECDSA is P-256, made in a fraction of a millisecond; RSA of `bits` takes a thousand times as long."""
    if key == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def _builder(key: PrivateKey, issuer: x509.Name, begin_s: float, end_s: float) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime.fromtimestamp(begin_s, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(end_s, datetime.UTC))
    )


def _usage(*wanted: str) -> x509.KeyUsage:
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in wanted for name in names})


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _private_bytes(key: PrivateKey) -> bytes:
    return key.private_bytes(
        _PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
