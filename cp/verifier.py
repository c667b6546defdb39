"""Which keys verify tokens of one sort: those in the log, and public ones from the settings.

With public keys, tokens are issued where the private key is and nowhere else, and with
`useSecrets: false` the control plane holds no key that could sign one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cp.config_schema import PublicKey, Validator
from cp.ports import Unusable
from cp.tokens import InvalidToken, Keys, read_public_key, verify
from mesh.reader import Reader


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies tokens as one section of the settings asks for. public: by mesh, then by key id."""

    use_secrets: bool
    public: Mapping[str, Mapping[str, bytes]]

    def verify(self, reader: Reader, keys: Keys, token: str, now_s: float) -> dict[str, Any]:
        """The claims of the token. Raises InvalidToken."""
        public = dict(self.public.get("", {})) | dict(self.public.get(keys.mesh, {}))
        if not self.use_secrets and not public:
            raise InvalidToken("no key verifies such tokens here")
        return verify(reader, keys, token, now_s, public, use_secrets=self.use_secrets)


def verifier(settings: Validator, path: str) -> Verifier:
    """Read the keys of the section at `path`. Raises Unusable naming the one that is none."""
    public: dict[str, dict[str, bytes]] = {}
    for number, key in enumerate(settings.public_keys):
        where = f"{path}.publicKeys[{number}]"
        if not key.kid:
            raise Unusable(f"{where}.kid: must name the key that tokens refer to")
        pem = _pem(key, where)
        try:
            read_public_key(pem)
        except ValueError as error:
            raise Unusable(f"{where}: is no RSA public key in PEM form: {error}") from error
        public.setdefault(key.mesh, {})[key.kid] = pem
    return Verifier(settings.use_secrets, public)


def _pem(key: PublicKey, where: str) -> bytes:
    if bool(key.key) == bool(key.key_file):
        raise Unusable(f"{where}: give either key or keyFile")
    if key.key:
        return key.key.encode()
    try:
        return Path(key.key_file).read_bytes()
    except OSError as error:
        raise Unusable(f"{where}.keyFile: {key.key_file}: {error.strerror}") from error
