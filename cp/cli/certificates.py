"""A self-signed certificate of a server or a client, for `raftmesh generate tls-certificate`."""

from __future__ import annotations

import argparse
import datetime
import ipaddress
import os
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cp.cli.errors import CommandError

VALID = datetime.timedelta(days=3650)
SKEW = datetime.timedelta(minutes=5)
HOST_CHARS_MAX = 253
COMMON_NAME_CHARS_MAX = 64

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def save_certificate(args: argparse.Namespace) -> int:
    hosts = [part for each in args.hostname for part in each.split(",") if part]
    if args.type == "server" and not hosts:
        raise CommandError("at least one hostname must be given")
    names = [_name(host) for host in hosts]
    key: Key = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if args.key_type == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    form = serialization.PrivateFormat.PKCS8
    pem = serialization.Encoding.PEM
    _save(args.key_file, key.private_bytes(pem, form, serialization.NoEncryption()), 0o600)
    common = next((host for host in hosts if len(host) <= COMMON_NAME_CHARS_MAX), "raftmesh")
    _save(args.cert_file, _certificate(key, common, names, args.type).public_bytes(pem), 0o644)
    for what, path in (("Private key", args.key_file), ("Certificate", args.cert_file)):
        if path != "-":
            print(f"{what} saved in {path}")
    return 0


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not host.isascii() or len(host) > HOST_CHARS_MAX or any(c.isspace() for c in host):
            raise CommandError(f"--hostname {host[:60]!r}: must be a DNS name or an address") from None
        return x509.DNSName(host)


def _certificate(key: Key, common: str, names: list[x509.GeneralName], kind: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = datetime.datetime.now(datetime.UTC)
    usage = ExtendedKeyUsageOID.SERVER_AUTH if kind == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


def _save(path: str, content: bytes, mode: int) -> None:
    if path == "-":
        sys.stdout.write(content.decode())
        return
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
            file.write(content)
    except OSError as error:
        raise CommandError(f"writing {path}: {error.strerror}") from None
