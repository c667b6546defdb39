"""A digest of a collection: the sum, modulo 2^128, of its members' BLAKE2b hashes.

It does not depend on order, and a change updates it with one subtraction and one addition
(Bellare and Micciancio's AdHash, 1997). Equal digests at equal index is how replicas are
checked to have converged, and a snapshot to have been read as it was written.

Each applied entry makes a new state, and hardly any of them is ever asked for its digest. Hashing takes
a fifth of what a write costs, so a change only notes who came and who went. Whoever
asks has that added up; after many changes that nobody asked about the notes are dropped,
and all members are hashed instead, in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Generic, TypeVar

from raftstore.codec import pack

M = TypeVar("M")

MODULUS = 2**128
# Members noted as come or gone. They are kept in memory meanwhile, so not many.
NOTED_MAX = 200
# Members hashed in one step: about a millisecond.
STEP = 200


def hash_of(member: object) -> int:
    """Of what msgpack can tell of one member."""
    return int.from_bytes(blake2b(pack(member), digest_size=16).digest(), "big")


class Digest(Generic[M]):
    """Of one value of a persistent collection; `hashed` tells the hash of a member."""

    __slots__ = ("_before", "_came", "_hashed", "_noted", "_value", "_went")

    def __init__(self, hashed: Callable[[M], int], value: int | None = None) -> None:
        """value: the sum, if it is known; 0 of an empty collection."""
        self._hashed = hashed
        self._value = value
        self._before: Digest[M] | None = None
        self._came: Sequence[M] = ()
        self._went: Sequence[M] = ()
        self._noted = 0

    def changed(self, came: Sequence[M], went: Sequence[M]) -> Digest[M]:
        """After a change. The sequences must stay as they are."""
        after = Digest(self._hashed)
        noted = self._noted + len(came) + len(went)
        if noted <= NOTED_MAX and (self._value is not None or self._before is not None):
            after._before, after._came, after._went, after._noted = self, came, went, noted
        return after

    def value(self, members: Callable[[], Iterable[M]]) -> int:
        """members: all of this value of the collection, if they are needed."""
        for _ in self.work_out(members):
            pass
        assert self._value is not None
        return self._value

    def work_out(self, members: Callable[[], Iterable[M]]) -> Iterator[None]:
        """Steps of about a millisecond, after which value() costs nothing."""
        if self._value is None and self._before is None:
            total = 0
            for number, member in enumerate(members(), 1):
                total += self._hashed(member)
                if number % STEP == 0:
                    yield
            self._know(total)
        chain: list[Digest[M]] = []
        at = self
        while at._before is not None:
            chain.append(at)
            at = at._before
        for link in reversed(chain):
            assert link._before is not None and link._before._value is not None
            came, went = sum(map(self._hashed, link._came)), sum(map(self._hashed, link._went))
            link._know(link._before._value + came - went)

    def _know(self, total: int) -> None:
        self._value = total % MODULUS
        self._before, self._came, self._went, self._noted = None, (), (), 0
