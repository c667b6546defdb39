"""Certificates of the control plane's own servers (API over TLS, dp-server).

Configured ones are used as they are. Without any, one self-signed certificate is made
per replica, as Kuma does, and kept in the data directory so that its fingerprint survives
a restart.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import socket
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cp.config_schema import Config
from cp.ports import Unusable

_VALID = datetime.timedelta(days=3650)
_SKEW = datetime.timedelta(minutes=5)


def server_files(config: Config, cert_file: str = "", key_file: str = "") -> tuple[Path, Path]:
    """(certificate, key) to serve with: the given ones, else `general`'s, else self-signed."""
    if cert_file:
        return Path(cert_file), Path(key_file)
    if config.general.tls_cert_file:
        return Path(config.general.tls_cert_file), Path(config.general.tls_key_file)
    directory = Path(config.general.work_dir or config.raft.data_dir) / "tls"
    cert, key = directory / "server.pem", directory / "server.key"
    if not (cert.exists() and key.exists()):
        try:
            directory.mkdir(parents=True, exist_ok=True)
            _make_self_signed(cert, key)
        except OSError as error:
            raise Unusable(f"cannot write {directory} (general.workDir, raft.dataDir): {error}") from error
    return cert, key


def server_context(config: Config, cert_file: str = "", key_file: str = "") -> ssl.SSLContext:
    """A TLS context of a server. Raises Unusable when the files are no certificate and key."""
    cert, key = server_files(config, cert_file, key_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise Unusable(f"{cert} with {key} is no certificate and key: {error}") from error
    return context


def api_context(config: Config) -> ssl.SSLContext:
    """TLS of the API's port: clients may, or must, show a certificate of `apiServer.auth.clientCertsDir`.

    Raises Unusable when that directory holds no certificate, or none is there to be verified with.
    """
    https, directory = config.api_server.https, config.api_server.auth.client_certs_dir
    context = server_context(config, https.tls_cert_file, https.tls_key_file)
    if not directory:
        if https.require_client_cert:
            raise Unusable("apiServer.https.requireClientCert needs apiServer.auth.clientCertsDir")
        return context
    files = sorted([*Path(directory).glob("*.pem"), *Path(directory).glob("*.crt")])
    if not files:
        raise Unusable(f"apiServer.auth.clientCertsDir: {directory} holds no *.pem or *.crt")
    for file in files:
        try:
            context.load_verify_locations(file)
        except (OSError, ssl.SSLError) as error:
            raise Unusable(f"apiServer.auth.clientCertsDir: {file} is no certificate: {error}") from error
    context.verify_mode = ssl.CERT_REQUIRED if https.require_client_cert else ssl.CERT_OPTIONAL
    # A certificate in the directory is trusted itself, not only what it signed.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    return context


def _make_self_signed(cert: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "raftmesh control plane")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_own_names()), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    _write(
        key,
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        0o600,
    )
    _write(cert, certificate.public_bytes(pem), 0o644)


def _own_names() -> list[x509.GeneralName]:
    """The names by which this host is reached: localhost, its host name, its addresses."""
    hostname = socket.gethostname()
    addresses = {"127.0.0.1", "::1"}
    try:
        addresses |= {str(info[4][0]).partition("%")[0] for info in socket.getaddrinfo(hostname, None)}
    except OSError:
        addresses |= set()  # a host that does not know its own name has its loopback
    names: list[x509.GeneralName] = [x509.DNSName("localhost")]
    if hostname.isascii() and hostname != "localhost":
        names.append(x509.DNSName(hostname))
    return names + [x509.IPAddress(ipaddress.ip_address(a)) for a in sorted(addresses)]


def _write(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    temporary.rename(path)
