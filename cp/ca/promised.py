"""What a proxy's secrets would be, for showing its configuration: their names, without making any.

The configuration that the API shows is derived anew on whichever replica is asked, perhaps of a view of
last week. Nobody must get a certificate for that; what is shown hides their bytes anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cp.ca.backends import backend_of
from cp.ca.x509 import NoAuthority
from mesh.reader import Reader
from xds.config.identity import Identity, authority_secret, certificate_secret
from xds.types import Encoded


class _Names:
    def __init__(self, secrets: Mapping[str, Encoded]) -> None:
        self._secrets = secrets

    def secrets(self) -> Mapping[str, Encoded]:
        return self._secrets

    def close(self) -> None:
        return None


class Promised:
    """A provider (xds.config.identity) of empty secrets, where the mesh's authority could issue real ones."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def open(self, identity: Identity, on_change: Callable[[], None]) -> _Names:
        try:
            issues = not identity.provider and backend_of(self._reader, identity.mesh) is not None
        except NoAuthority:
            issues = False
        if not issues:
            return _Names({})
        own, ca = identity.identity_secret, identity.ca_secret
        found = {own: certificate_secret(own, b"", b"")}
        return _Names(found | ({ca: authority_secret(ca, b"")} if ca else {}))
