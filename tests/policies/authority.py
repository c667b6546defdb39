"""An issuer of certificates for tests of mTLS: a provider of identities with an authority of its own."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from xds.config.identity import Identity, IdentityHandle, authority_secret, certificate_secret
from xds.types import Encoded

_PEM = serialization.Encoding.PEM


class Handle:
    """Secrets that never change."""

    def __init__(self, secrets: Mapping[str, Encoded]) -> None:
        self._secrets = secrets

    def secrets(self) -> Mapping[str, Encoded]:
        return self._secrets

    def close(self) -> None:
        return None


class Authority:
    """Issues a certificate for each identity, with the names that Kuma's certificates carry."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of a test")])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._key).subject_name(self._name)
        certificate = builder.add_extension(constraints, critical=True).sign(self._key, hashes.SHA256())
        self.root = certificate.public_bytes(_PEM)

    def open(self, identity: Identity, on_change: Callable[[], None]) -> IdentityHandle:
        uris = [f"spiffe://{identity.mesh}/{service}" for service in identity.services]
        uris += [f"kuma://{tag}/{value}" for tag, value in identity.tags]
        secrets = [certificate_secret(identity.identity_secret, *self.issue(uris))]
        if identity.ca_secret:
            secrets.append(authority_secret(identity.ca_secret, self.root))
        return Handle({secret.name: secret for secret in secrets})

    def issue(self, uris: Iterable[str]) -> tuple[bytes, bytes]:
        """(certificate, key) in PEM of somebody with these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = self._builder(key).subject_name(x509.Name([])).add_extension(names, critical=True)
        certificate = builder.sign(self._key, hashes.SHA256())
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return certificate.public_bytes(_PEM), private

    def _builder(self, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )
