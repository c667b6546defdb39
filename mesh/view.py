"""All resources at one log index: a value that is never changed, only followed by the next one.

Built on hash-array-mapped tries (`immutables.Map`), so the view after a change shares almost all of
its memory with the view before: keeping an old one costs a pointer, and reading one blocks nobody.
An API page, a KDS resume and `?at=<index>` read whichever view they hold.

`with_changes` costs what changed, and says exactly what that was: which keys, and which *index
keys*, i.e. which answers of `list` and `lookup` are different now.  Derivations that recorded one
of those run again; all others are still right.

Order is made when somebody asks: a bucket holds its members unordered plus the last sorted tuple
and the changes since, and patches that tuple at the next read.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import immutables

from mesh.codec import encode_value
from mesh.indexes import INDEXES, entries
from mesh.resource import Resource, ResourceKey

__all__ = ["INDEXES", "Change", "Changes", "View"]

Change = tuple[ResourceKey, Resource | None]
IndexKey = tuple[Any, ...]
KIND: Final = "kind"
_DIGEST_BYTES = 16
_DIGEST_MODULUS = 1 << (8 * _DIGEST_BYTES)
# Above this share of changed members, sorting anew is cheaper than patching.
_PATCH_SHARE = 8


class Changes(NamedTuple):
    """Which answers of `View.get` (keys), `list` and `lookup` (index_keys) differ from before."""

    keys: frozenset[ResourceKey]
    index_keys: frozenset[IndexKey]

    @staticmethod
    def none() -> Changes:
        return _NO_CHANGES

    def union(self, other: Changes) -> Changes:
        return Changes(self.keys | other.keys, self.index_keys | other.index_keys)

    def __bool__(self) -> bool:
        return bool(self.keys)


_NO_CHANGES = Changes(frozenset(), frozenset())


class _Bucket:
    """A set of members by sort key, which remembers its last sorted form.

    Logically immutable: `_cache`, the last sorted form and the keys that changed since, only caches what
    `members` says. It is one tuple, read once and replaced whole: derivations for the API run in threads.
    """

    __slots__ = ("_cache", "members")

    def __init__(
        self,
        members: immutables.Map[Any, Any],
        base: tuple[Any, ...] | None = None,
        pending: tuple[Any, ...] = (),
    ) -> None:
        self.members = members
        self._cache = (base, pending)

    def with_members(self, changed: Mapping[Any, Any]) -> _Bucket:
        """`changed` maps a sort key to its new member, or to None for "gone"."""
        with self.members.mutate() as draft:
            for key, member in changed.items():
                if member is None:
                    del draft[key]
                else:
                    draft[key] = member
            members = draft.finish()
        base, pending = self._cache
        pending = (*pending, *changed)
        if base is None or len(pending) * _PATCH_SHARE > len(base):
            return _Bucket(members)
        return _Bucket(members, base, pending)

    def ordered(self) -> tuple[Any, ...]:
        """(sort key, member) pairs in order of the sort keys."""
        base, pending = self._cache
        if base is None:
            base = tuple(sorted(self.members.items(), key=_first))
        elif pending:
            base = self._patched(base, pending)
        else:
            return base
        self._cache = (base, ())
        return base

    def _patched(self, base: tuple[Any, ...], pending: tuple[Any, ...]) -> tuple[Any, ...]:
        draft = list(base)
        for key in dict.fromkeys(pending):
            at = bisect_left(draft, key, key=_first)
            present = at < len(draft) and draft[at][0] == key
            member = self.members.get(key)
            if member is None:
                if present:
                    del draft[at]
            elif present:
                draft[at] = (key, member)
            else:
                draft.insert(at, (key, member))
        return tuple(draft)


def _first(pair: Any) -> Any:
    return pair[0]


class _Resources(Sequence[Resource]):
    """The members of sorted pairs, as a sequence, without copying them."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: tuple[Any, ...]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return _Resources(self._pairs[at])
        return self._pairs[at][1]

    def __iter__(self) -> Iterator[Resource]:
        for _, resource in self._pairs:
            yield resource

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


_EMPTY_BUCKET = _Bucket(immutables.Map())
_EMPTY: tuple[Any, ...] = ()


class View:
    """The resources at `index`. Implements `mesh.reader.Reader`."""

    __slots__ = ("_digest", "_entries", "_kinds", "_records", "index")

    def __init__(
        self,
        index: int,
        records: immutables.Map[ResourceKey, Resource],
        kinds: immutables.Map[tuple[str, str | None], _Bucket],
        entries_by_key: immutables.Map[IndexKey, _Bucket],
        digest: int,
    ) -> None:
        self.index = index
        self._records = records
        self._kinds = kinds
        self._entries = entries_by_key
        self._digest = digest

    @staticmethod
    def empty() -> View:
        return View(0, immutables.Map(), immutables.Map(), immutables.Map(), 0)

    @staticmethod
    def of(resources: Iterable[Resource], index: int = 0) -> View:
        """A view that holds exactly these resources."""
        return View.empty().with_changes(index, ((r.key, r) for r in resources))[0]

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Resource]:
        """All resources, in key order."""
        for kind in sorted({kind for kind, _ in self._kinds}):
            yield from self.list(kind)

    # --- reads -----------------------------------------------------------------------

    def get(self, kind: str, mesh: str, name: str) -> Resource | None:
        return self._records.get(ResourceKey(kind, mesh, name))

    def list(self, kind: str, mesh: str | None = None) -> Sequence[Resource]:
        return _Resources(self._kinds.get((kind, mesh), _EMPTY_BUCKET).ordered())

    def count(self, kind: str, mesh: str | None = None) -> int:
        """How many `list` would return."""
        return len(self._kinds.get((kind, mesh), _EMPTY_BUCKET).members)

    def lookup(self, index: str, *parts: str) -> tuple[ResourceKey, ...]:
        """Sorted keys under `parts` of a secondary index. Raises KeyError for an unknown index."""
        declared = INDEXES[index]
        if len(parts) != len(declared.parts):
            raise KeyError(f"index {index} takes {', '.join(declared.parts)}; got {parts}")
        bucket = self._entries.get((index, *parts), _EMPTY_BUCKET)
        return tuple(key for key, _ in bucket.ordered())

    def digest(self) -> str:
        """Equal for equal content, whatever the order and grouping of the changes that led here."""
        return f"{self._digest:032x}"

    def everything(self) -> Changes:
        """What differs from the empty view."""
        kinds = ((KIND, *bucket) for bucket in self._kinds)
        return Changes(frozenset(self._records), frozenset((*kinds, *self._entries)))

    # --- the next view ---------------------------------------------------------------

    def with_changes(self, index: int, changes: Iterable[Change]) -> tuple[View, Changes]:
        """The view after `changes`, at `index`, and what differs. The last change of a key counts.

        A resource of None is a deletion; deleting what is absent changes nothing.
        """
        real = self._differing(changes)
        if not real:
            return View(index, self._records, self._kinds, self._entries, self._digest), _NO_CHANGES
        digest = self._digest
        kinds: dict[tuple[str, str | None], dict[Any, Any]] = {}
        found: dict[IndexKey, dict[ResourceKey, bool | None]] = {}
        with self._records.mutate() as draft:
            for key, (old, new) in real.items():
                if old is not None:
                    digest -= _fingerprint(old)
                if new is None:
                    del draft[key]
                else:
                    draft[key] = new
                    digest += _fingerprint(new)
                kinds.setdefault((key.kind, key.mesh), {})[key.name] = new
                kinds.setdefault((key.kind, None), {})[key.mesh, key.name] = new
                _index_changes(key, old, new, found)
            records = draft.finish()
        view = View(
            index, records, _apply(self._kinds, kinds), _apply(self._entries, found), digest % _DIGEST_MODULUS
        )
        kind_keys = ((KIND, *bucket) for bucket in kinds)
        return view, Changes(frozenset(real), frozenset((*kind_keys, *found)))

    def _differing(
        self, changes: Iterable[Change]
    ) -> dict[ResourceKey, tuple[Resource | None, Resource | None]]:
        final = {ResourceKey(*key): resource for key, resource in changes}
        real = {}
        for key, new in final.items():
            old = self._records.get(key)
            if old is not new and old != new:
                real[key] = (old, new)
        return real


def _index_changes(
    key: ResourceKey,
    old: Resource | None,
    new: Resource | None,
    found: dict[IndexKey, dict[ResourceKey, bool | None]],
) -> None:
    before = entries(old) if old is not None else frozenset()
    after = entries(new) if new is not None else frozenset()
    for gone in before - after:
        found.setdefault(gone, {})[key] = None
    for come in after - before:
        found.setdefault(come, {})[key] = True


def _apply(
    buckets: immutables.Map[Any, _Bucket], changed: Mapping[Any, Mapping[Any, Any]]
) -> immutables.Map[Any, _Bucket]:
    if not changed:
        return buckets
    draft = buckets.mutate()
    for name, members in changed.items():
        bucket = draft.get(name, _EMPTY_BUCKET).with_members(members)
        if bucket.members:
            draft[name] = bucket
        else:
            del draft[name]
    return draft.finish()


def _fingerprint(resource: Resource) -> int:
    head = "\0".join((resource.kind, resource.mesh, resource.name, str(resource.version))).encode()
    times = f"\0{resource.created_ms}\0{resource.modified_ms}\0".encode()
    content = hashlib.blake2b(head + times + encode_value(resource), digest_size=_DIGEST_BYTES)
    return int.from_bytes(content.digest(), "big")
