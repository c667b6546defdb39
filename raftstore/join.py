"""How a new replica gets its certificate: a join token, one request, one answer.

    rmj1.<id>.<secret>.<cluster id>

The log holds the token's id, a hash of its secret, when it expires and what may be made with it.
The hash is also the key with which both sides authenticate what they say (HMAC-SHA256), so the secret itself never
travels, and nobody in between can read it, change a request, or answer in the cluster's place.
The joiner sends a certificate request, so its private key does not travel either. It
believes an answer only when the code fits, the CA in it is the one whose hash is the cluster id in the
token, and the certificate is signed by that CA for its own key (kubeadm's discovery tokens are
the model). So plain HTTP will do.

A token makes one replica. Using it and registering the replica is one transaction; the same
request again, after an answer that was lost, gets its certificate again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from raftstore.certs import CA_CERT, CA_KEY, BadCertificate, check_node_id, sign_request
from raftstore.errors import StoreError, Unavailable
from raftstore.members import OWN_KIND, Refused
from raftstore.types import Key

_TOKEN = re.compile(r"rmj1\.([0-9a-f]{16})\.([0-9a-f]{64})\.([0-9a-f]{32})")
VALID_S_MAX = 7 * 24 * 3600
# A certificate request or an answer with a few certificates is some 2 KB.
MESSAGE_BYTES_MAX = 64 * 1024


class BadAnswer(StoreError):
    """What answered is not the cluster of the token."""


@dataclass(frozen=True, slots=True)
class Token:
    """What the operator carries from the cluster to the new replica."""

    id: str
    secret: str
    cluster_id: str

    def text(self) -> str:
        return f"rmj1.{self.id}.{self.secret}.{self.cluster_id}"

    @property
    def key(self) -> str:
        """What the log holds of the secret."""
        return hashlib.sha256(self.secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Grant:
    """A token as the log has it. node_id: "" for any. used_by: hash of the request that used it, or "".

    replaces: the member that the new replica, a voter, takes the place of, or "".
    """

    key: str
    expires_ms: int
    voter: bool
    node_id: str = ""
    used_by: str = ""
    replaces: str = ""

    def encode(self) -> bytes:
        return json.dumps(asdict(self), sort_keys=True).encode()

    @classmethod
    def decode(cls, value: bytes) -> Grant:
        return cls(**json.loads(value))


def new_token(cluster: str) -> Token:
    return Token(secrets.token_hex(8), secrets.token_hex(32), cluster)


def parse_token(text: str) -> Token:
    """Raises Refused."""
    found = _TOKEN.fullmatch(text.strip())
    if found is None:
        raise Refused("this is no join token; make one with `raftmesh cluster token`")
    return Token(*found.groups())


def grant_key(token_id: str) -> Key:
    return Key(OWN_KIND, "", f"join-token-{token_id}")


# --- the joiner's side --------------------------------------------------------------------------


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def make_request(token: Token, node_id: str, address: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """What to send. `address`: "host:port" by which the others reach the new replica."""
    check_node_id(node_id)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, node_id)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = csr.public_bytes(serialization.Encoding.PEM).decode()
    return _sealed(token.key, {"token": token.id, "node": node_id, "address": address, "csr": pem})


def check_answer(
    token: Token, node_id: str, key: ec.EllipticCurvePrivateKey, answer: Mapping[str, Any]
) -> tuple[bytes, bytes, dict[str, str]]:
    """(ca.pem, certificate, voters: id -> address) of an answer that is the cluster's. Raises BadAnswer."""
    if not _is_sealed(token.key, answer):
        raise BadAnswer("the answer is not of the cluster that made the token: do not trust that address")
    try:
        ca, certificate = str(answer["ca"]).encode(), str(answer["certificate"]).encode()
        voters = {str(k): str(v) for k, v in dict(answer["voters"]).items()}
        authorities = x509.load_pem_x509_certificates(ca)
        leaf = x509.load_pem_x509_certificate(certificate)
    except (KeyError, ValueError, TypeError) as error:
        raise BadAnswer(f"the answer is not understood ({error!r})") from error
    if _fingerprint(authorities[0]) != token.cluster_id:
        raise BadAnswer("the CA in the answer is not that of the token: do not trust that address")
    if leaf.public_key() != key.public_key() or not any(_signed_by(leaf, one) for one in authorities):
        raise BadAnswer(f"the certificate in the answer is not one of that CA for {node_id}")
    return ca, certificate, voters


# --- the cluster's side ---------------------------------------------------------------------------


def check_request(request: Mapping[str, Any], grant: Grant | None, now_ms: int) -> tuple[str, str, str]:
    """(node id, address, hash of the request) of one that the token allows. Raises Refused."""
    if grant is None or not _is_sealed(grant.key, request):
        raise Refused(
            "the join token is unknown here, or the request was not made with it: make another token"
        )
    node_id, address = str(request.get("node", "")), str(request.get("address", ""))
    try:
        check_node_id(node_id)
    except BadCertificate as error:
        raise Refused(str(error)) from error
    mark = hashlib.sha256(str(request["mac"]).encode()).hexdigest()
    if grant.used_by and grant.used_by != mark:
        raise Refused("the join token has been used; each one makes one replica")
    if not grant.used_by and now_ms > grant.expires_ms:
        raise Refused("the join token has expired; make another with `raftmesh cluster token`")
    if grant.node_id not in ("", node_id):
        raise Refused(f"the join token is for {grant.node_id}, not for {node_id}")
    return node_id, address, mark


def sign(tls_dir: str, request: Mapping[str, Any], node_id: str) -> tuple[str, str]:
    """(ca.pem, certificate) for the request, by the CA's key here. Blocks. Raises Refused, Unavailable."""
    directory = Path(tls_dir)
    if not tls_dir or not (directory / CA_KEY).exists():
        raise Unavailable(
            f"this replica has no {CA_KEY} in its raft.tlsDir, so it cannot issue certificates: ask one that "
            "has, or make the certificate with `raftmesh cert node` where the key is"
        )
    try:
        csr = str(request.get("csr", "")).encode(errors="replace")
        certificate = sign_request(directory, node_id, csr)
    except BadCertificate as error:
        raise Refused(str(error)) from error
    return (directory / CA_CERT).read_text(), certificate.decode()


def make_answer(grant: Grant, ca: str, certificate: str, voters: Mapping[str, str]) -> dict[str, Any]:
    return _sealed(grant.key, {"ca": ca, "certificate": certificate, "voters": dict(voters)})


def used(grant: Grant, mark: str) -> Grant:
    return replace(grant, used_by=mark)


# --- both -------------------------------------------------------------------------------------------


def _mac(key: str, message: Mapping[str, Any]) -> str:
    said = json.dumps({k: v for k, v in message.items() if k != "mac"}, sort_keys=True, separators=(",", ":"))
    return hmac.new(bytes.fromhex(key), said.encode(), hashlib.sha256).hexdigest()


def _sealed(key: str, message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "mac": _mac(key, message)}


def _is_sealed(key: str, message: Mapping[str, Any]) -> bool:
    said = str(message.get("mac", "")).encode(errors="replace")  # JSON may hold half a character
    return hmac.compare_digest(said, _mac(key, message).encode())


def _fingerprint(certificate: x509.Certificate) -> str:
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()[:32]


def _signed_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
