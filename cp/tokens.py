"""Tokens of users, proxies and zones: signed by keys that are resources, so by any replica.

RS256 JSON web tokens with Kuma's claims. A signing key is a secret, `<prefix>-<serial>`; the
highest serial signs, each one that is there verifies, so a key is rotated by adding one and
removed when what it signed has expired. A token is revoked by its `jti` in a secret.

Pure functions of a view and a time; keys that were parsed once are remembered by content.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mesh.reader import Reader

KEY_BITS = 2048
ALGORITHM = "RS256"
# Clocks differ: a token is valid a little before it was issued and after it expired, as in Kuma.
SKEW_S = 5
TEN_YEARS_S = 10 * 365 * 24 * 3600
TOKEN_CHARS_MAX = 16_384


class InvalidToken(Exception):
    """A token that proves nothing; the message says why."""


class NoSigningKey(Exception):
    """There is no key to sign with; the message says where it should be."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Where the signing keys of one sort of token are: kind, mesh and name prefix of the secrets."""

    kind: str
    mesh: str
    prefix: str
    revocations: str

    def serials(self, reader: Reader) -> Iterator[tuple[int, bytes]]:
        """(serial, PEM) of each key that is there."""
        for secret in reader.list(self.kind, self.mesh):
            serial = secret.name.removeprefix(self.prefix + "-")
            if serial != secret.name and serial.isascii() and serial.isdecimal():
                yield int(serial), secret.spec.value()


USER = Keys("GlobalSecret", "", "user-token-signing-key", "user-token-revocations")
ZONE = Keys("GlobalSecret", "", "zone-token-signing-key", "zone-token-revocations")


def of_dataplanes(mesh: str) -> Keys:
    """Each mesh has keys of its own: a token of one is worth nothing in another."""
    return Keys("Secret", mesh, f"dataplane-token-signing-key-{mesh}", f"dataplane-token-revocations-{mesh}")


# --- keys ---------------------------------------------------------------------------------


def new_key() -> bytes:
    """A new signing key as PEM. Takes about a tenth of a second of CPU."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def key_document(keys: Keys, pem: bytes, serial: int = 1) -> dict[str, Any]:
    """The secret that holds a signing key."""
    document = {"type": keys.kind, "name": f"{keys.prefix}-{serial}", "data": base64.b64encode(pem).decode()}
    return document | {"mesh": keys.mesh} if keys.mesh else document


@lru_cache(maxsize=256)
def _private(pem: bytes) -> rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the signing key is not an RSA key")
    return key


@lru_cache(maxsize=256)
def read_public_key(pem: bytes) -> rsa.RSAPublicKey:
    """The public key in PEM of a public or private one. Raises ValueError."""
    if b"PRIVATE KEY" in pem:
        return _private(pem).public_key()
    key = serialization.load_pem_public_key(pem)
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("the public key is not an RSA key")
    return key


# --- issuing ------------------------------------------------------------------------------


def issue(reader: Reader, keys: Keys, claims: Mapping[str, Any], now_s: int, valid_s: float) -> str:
    """A signed token. Raises NoSigningKey."""
    found = max(keys.serials(reader), default=None)
    if found is None:
        where = f" in mesh {keys.mesh!r}" if keys.mesh else ""
        raise NoSigningKey(f"there is no signing key {keys.prefix}-N{where}")
    serial, pem = found
    try:
        return sign(pem, str(serial), claims, now_s, valid_s)
    except ValueError as error:
        raise NoSigningKey(f"the signing key {keys.prefix}-{serial} cannot be used: {error}") from error


def sign(pem: bytes, kid: str, claims: Mapping[str, Any], now_s: int, valid_s: float) -> str:
    """A token signed by the private key in PEM, which verifiers know as `kid`. Raises ValueError."""
    times = {
        "iat": now_s,
        "nbf": now_s - SKEW_S,
        "exp": int(now_s + valid_s),
        "jti": str(uuid.uuid4()),
    }
    return jwt.encode({**claims, **times}, _private(pem), algorithm=ALGORITHM, headers={"kid": kid})


def dataplane_claims(
    name: str, mesh: str, tags: Mapping[str, Sequence[str]], proxy_type: str, workload: str = ""
) -> dict[str, Any]:
    """What a proxy's token says of it. An empty claim allows any value."""
    claims: dict[str, Any] = {
        "Name": name,
        "Mesh": mesh,
        "Tags": {tag: list(values) for tag, values in tags.items()},
        "Type": proxy_type,
    }
    return claims | {"Workload": workload} if workload else claims


def zone_claims(zone: str, scope: Sequence[str]) -> dict[str, Any]:
    return {"Zone": zone, "Scope": list(scope)}


def user_claims(name: str, groups: Sequence[str]) -> dict[str, Any]:
    return {"Name": name, "Groups": list(groups)}


# --- verifying ----------------------------------------------------------------------------


def verify(
    reader: Reader,
    keys: Keys,
    token: str,
    now_s: float,
    public_keys: Mapping[str, bytes] | None = None,
    *,
    use_secrets: bool = True,
) -> dict[str, Any]:
    """The claims of a token that one of the keys signed and nobody revoked. Raises InvalidToken.

    public_keys: further keys by their `kid`, for tokens that were issued elsewhere.
    use_secrets: whether the keys in the log verify, too.
    """
    if len(token) > TOKEN_CHARS_MAX:
        raise InvalidToken(f"the token is longer than {TOKEN_CHARS_MAX} characters")
    try:
        kid = str(jwt.get_unverified_header(token).get("kid", "0"))
        pem = dict(public_keys or {}).get(kid)
        if pem is None and use_secrets:
            pem = {str(serial): pem for serial, pem in keys.serials(reader)}.get(kid)
        if pem is None:
            raise InvalidToken(f"there is no signing key with the key id {kid[:40]!r}")
        claims = jwt.decode(
            token,
            read_public_key(pem),
            algorithms=[ALGORITHM],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except (jwt.PyJWTError, ValueError) as error:
        raise InvalidToken(f"the token is not valid: {error}") from error
    _check_times(claims, now_s)
    if str(claims.get("jti", "")) in _revoked(reader, keys):
        raise InvalidToken("the token is revoked")
    return dict(claims)


def _check_times(claims: Mapping[str, Any], now_s: float) -> None:
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or isinstance(expires, bool):
        raise InvalidToken("the token does not say when it expires")
    if not isinstance(begins, int | float):
        raise InvalidToken("the token does not say when it begins")
    if now_s > expires + SKEW_S:
        raise InvalidToken("the token is expired")
    if now_s < begins - SKEW_S:
        raise InvalidToken("the token is not valid yet")


def _revoked(reader: Reader, keys: Keys) -> frozenset[str]:
    secret = reader.get(keys.kind, keys.mesh, keys.revocations)
    if secret is None:
        return frozenset()
    text = secret.spec.value().decode(errors="replace")
    return frozenset(part.strip() for part in text.replace("\n", ",").split(",")) - {""}
