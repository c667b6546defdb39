"""Who needs a certificate now, and who later: the decisions of the issuer, without clock and I/O.

Each connected proxy has an entry. It is due when its mesh has an authority and the entry's certificate is
missing, from another authority, of another key type, or past four fifths of its life. Whoever asks says
what time it is, issues for the entries that are due, and notes what came of it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from cp.ca.backends import Backend
from cp.ca.x509 import Authority, KeyType, Leaf
from xds.config.identity import Identity

RENEW_AFTER = 0.8  # of a certificate's life, as Kuma does


@dataclass(frozen=True)
class Signer:
    """Who issues in a mesh, and what sort of key its certificates have. Compared by what that depends on."""

    backend: Backend
    key: KeyType
    authority: Authority = field(compare=False, repr=False)


@dataclass(eq=False)
class Entry:
    """One proxy. `leaf` is what it has, `signer` who issued it; `asked` while it waits to be issued."""

    identity: Identity
    leaf: Leaf | None = None
    signer: Signer | None = None
    asked: bool = False
    open: bool = True


class Rota:
    """All entries of one worker."""

    def __init__(self) -> None:
        self._signers: dict[str, Signer] = {}
        self._entries: dict[str, dict[Entry, None]] = {}
        self._due: dict[Entry, None] = {}
        self._renewals: list[tuple[float, int, Entry]] = []
        self._pushed = 0

    @property
    def meshes(self) -> frozenset[str]:
        """The meshes that have entries."""
        return frozenset(self._entries)

    def signer(self, mesh: str) -> Signer | None:
        return self._signers.get(mesh)

    def open(self, identity: Identity) -> Entry:
        """A proxy came."""
        entry = Entry(identity)
        self._entries.setdefault(identity.mesh, {})[entry] = None
        self._ask(entry)
        return entry

    def close(self, entry: Entry) -> None:
        """It left, or needs another identity. Idempotent."""
        entry.open = False
        self._due.pop(entry, None)
        of_mesh = self._entries.get(entry.identity.mesh, {})
        of_mesh.pop(entry, None)
        if not of_mesh:
            self._entries.pop(entry.identity.mesh, None)
            self._signers.pop(entry.identity.mesh, None)

    def set_signer(self, mesh: str, signer: Signer | None) -> None:
        """What issues in a mesh now. While there is none, what was issued stays in use."""
        if signer is None:
            self._signers.pop(mesh, None)
            return
        self._signers[mesh] = signer
        for entry in self._entries.get(mesh, ()):
            if entry.signer != signer:
                self._ask(entry)

    def due(self, now_s: float) -> Iterator[tuple[Entry, Signer]]:
        """Take the entries that are to be issued now; they are not due again until `issued` or `failed`."""
        while self._renewals and self._renewals[0][0] <= now_s:
            _, _, entry = heapq.heappop(self._renewals)
            if entry.open and entry.leaf is not None and renewal_s(entry.leaf) <= now_s:
                self._ask(entry)
        for entry in list(self._due):
            signer = self._signers.get(entry.identity.mesh)
            if signer is not None and not entry.asked:
                del self._due[entry]
                entry.asked = True
                yield entry, signer

    def issued(self, entry: Entry, signer: Signer, leaf: Leaf) -> None:
        """An entry got its certificate."""
        entry.asked, entry.leaf, entry.signer = False, leaf, signer
        if not entry.open:
            return
        self._pushed += 1
        heapq.heappush(self._renewals, (renewal_s(leaf), self._pushed, entry))
        if self._signers.get(entry.identity.mesh, signer) != signer:
            self._ask(entry)  # the authority changed meanwhile

    def failed(self, entry: Entry) -> None:
        """It could not be issued: wait for another authority."""
        entry.asked = False

    def next_s(self) -> float | None:
        """When somebody is due next, as things stand."""
        return self._renewals[0][0] if self._renewals else None

    def _ask(self, entry: Entry) -> None:
        self._due[entry] = None


def renewal_s(leaf: Leaf) -> float:
    """When a certificate is to be replaced."""
    return leaf.not_before_s + RENEW_AFTER * (leaf.not_after_s - leaf.not_before_s)
