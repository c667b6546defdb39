"""The certificates of the xDS benchmark: what a rotation tells the proxies, without the cost of signing.

Sizes are those of a P-256 leaf with its chain, its key and one root. Signing is left out, since a
control plane signs ahead of time; what is measured is how new secrets reach everybody.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from xds.config.identity import Identity, authority_secret, certificate_secret
from xds.types import Encoded

CHAIN_BYTES, KEY_BYTES, ROOTS_BYTES = 1_300, 240, 800


class Authority:
    """An IdentityProvider; `rotate` gives everybody new roots and a new certificate."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._opened = 0
        self.roots: dict[str, Encoded] = {}

    def open(self, identity: Identity, on_change: Callable[[], None]) -> Held:
        self._opened += 1
        held = self._held[self._opened] = Held(self, self._opened, identity, on_change)
        return held

    def leave(self, number: int) -> None:
        self._held.pop(number, None)

    def rotate(self) -> None:
        self.roots.clear()
        for held in list(self._held.values()):
            held.renew()
            held.on_change()


class Held:
    """The certificate of one proxy."""

    def __init__(
        self, authority: Authority, number: int, identity: Identity, on_change: Callable[[], None]
    ) -> None:
        self._authority, self._number, self._identity = authority, number, identity
        self.on_change = on_change
        self.renew()

    def renew(self) -> None:
        self._own = certificate_secret(
            self._identity.identity_secret, os.urandom(CHAIN_BYTES), os.urandom(KEY_BYTES)
        )

    def secrets(self) -> Mapping[str, Encoded]:
        name, roots = self._identity.ca_secret, self._authority.roots
        if name not in roots:
            roots[name] = authority_secret(name, os.urandom(ROOTS_BYTES))
        return {self._own.name: self._own, name: roots[name]}

    def close(self) -> None:
        self._authority.leave(self._number)
