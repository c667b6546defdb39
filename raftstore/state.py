"""The folded log: records and remembered requests, as values that share structure.

Everything here is persistent (Bagwell's hash array mapped tries, by `immutables`): a change
makes a new value that shares all but a path with the old one. So holding on to a state
*is* a snapshot: it costs a pointer, copies nothing and blocks nobody.

Records lie in three levels, kind -> mesh -> name, so that a scope is found without
looking at other records. Each collection carries a digest (digest.py), which is worked out
when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, TypeAlias

from immutables import Map, MapMutation
from msgspec import Struct

from raftstore.codec import outcome_to_wire, pack, record_to_wire
from raftstore.digest import Digest, hash_of
from raftstore.types import Key, Outcome, Record, Scope

_EMPTY: Map[Any, Any] = Map()
_NO_NAMES: Map[str, Record] = Map()

Names: TypeAlias = "Map[str, Record]"
Meshes: TypeAlias = "Map[str, Names]"


def record_hash(record: Record) -> int:
    return hash_of(record_to_wire(record))


@dataclass(frozen=True, slots=True)
class Records:
    """All records, by key and by scope."""

    tree: Map[str, Meshes] = _EMPTY
    count: int = 0
    digest: Digest[Record] = field(default=Digest(record_hash, 0), compare=False)

    def __len__(self) -> int:
        return self.count

    @property
    def sum(self) -> int:
        return self.digest.value(self.scan)

    def get(self, key: Key) -> Record | None:
        meshes = self.tree.get(key.kind)
        names = meshes.get(key.mesh) if meshes is not None else None
        return names.get(key.name) if names is not None else None

    def put(self, record: Record) -> Records:
        edit = RecordsEdit(self)
        edit.put(record)
        return edit.done()

    def delete(self, key: Key) -> Records:
        """Without `key`, which must exist."""
        edit = RecordsEdit(self)
        if edit.delete(key) is None:
            raise KeyError(key)
        return edit.done()

    def scan(self, scope: Scope = Scope()) -> Iterator[Record]:
        """The records of a scope, in no promised order; touches no others."""
        for names in self._buckets(scope):
            yield from names.values()

    def any(self, scope: Scope) -> Record | None:
        """The first record of the scope by key, or None when it is empty."""
        found = [record.key for names in self._buckets(scope) for record in names.values()]
        return self.get(min(found)) if found else None

    def _buckets(self, scope: Scope) -> Iterator[Names]:
        kinds = self.tree.values() if scope.kind is None else filter(None, [self.tree.get(scope.kind)])
        for meshes in kinds:
            if scope.mesh is None:
                yield from meshes.values()
            elif (names := meshes.get(scope.mesh)) is not None:
                yield names


class RecordsEdit:
    """All changes of one log entry: a path is copied once for the entry, not once for each write.

    Reads see the changes so far; `done()` is the value after them. `base` is not touched.
    """

    def __init__(self, base: Records) -> None:
        self._tree = base.tree
        self._open: dict[tuple[str, str], MapMutation[str, Record]] = {}
        self._count = base.count
        self._digest = base.digest
        self._came: list[Record] = []
        self._went: list[Record] = []

    def get(self, key: Key) -> Record | None:
        return self._names(key).get(key.name)

    def put(self, record: Record) -> Record | None:
        """Returns the record that was there before."""
        names = self._names(record.key)
        name = record.key.name
        old = names.get(name)
        names[name] = record
        self._came.append(record)
        if old is None:
            self._count += 1
        else:
            self._went.append(old)
        return old

    def delete(self, key: Key) -> Record | None:
        """Returns the record that was there, if any."""
        old: Record | None = self._names(key).pop(key.name, None)
        if old is not None:
            self._count -= 1
            self._went.append(old)
        return old

    def done(self, total: int | None = None) -> Records:
        """The edit may go on afterwards, from here. total: the digest, if the caller knows it."""
        tree = self._tree
        for (kind, mesh), mutation in self._open.items():
            meshes: Meshes = tree.get(kind) or Map()
            names = mutation.finish()
            if names:
                tree = tree.set(kind, meshes.set(mesh, names))
            elif mesh in meshes:
                meshes = meshes.delete(mesh)
                tree = tree.set(kind, meshes) if meshes else tree.delete(kind)
        self._open.clear()
        self._tree = tree
        if total is not None:
            self._digest = Digest(record_hash, total)
        elif self._came or self._went:
            self._digest = self._digest.changed(self._came, self._went)
        self._came, self._went = [], []
        return Records(tree, self._count, self._digest)

    def _names(self, key: Key) -> MapMutation[str, Record]:
        bucket = (key.kind, key.mesh)
        names = self._open.get(bucket)
        if names is None:
            meshes = self._tree.get(key.kind)
            found = meshes.get(key.mesh) if meshes is not None else None
            names = self._open[bucket] = (found if found is not None else _NO_NAMES).mutate()
        return names


class Remembered(Struct, frozen=True, gc=False):
    """What became of a request. `position` is its place in the order of arrival."""

    outcome: Outcome
    time_ms: int
    position: int


Asked: TypeAlias = tuple[str, Remembered]


def request_hash(asked: Asked) -> int:
    request_id, entry = asked
    return hash_of((request_id, outcome_to_wire(entry.outcome), entry.time_ms))


@dataclass(frozen=True, slots=True)
class Requests:
    """The memory that makes retries harmless: request id -> outcome, oldest forgotten first."""

    by_id: Map[str, Remembered] = _EMPTY
    order: Map[int, str] = _EMPTY
    oldest: int = 0
    next: int = 0
    digest: Digest[Asked] = field(default=Digest(request_hash, 0), compare=False)

    def __len__(self) -> int:
        return len(self.by_id)

    @property
    def sum(self) -> int:
        return self.digest.value(self.in_order)

    def get(self, request_id: str) -> Outcome | None:
        found = self.by_id.get(request_id)
        return found.outcome if found is not None else None

    def add(self, request_id: str, outcome: Outcome, time_ms: int) -> Requests:
        """With one more request, which must be new."""
        edit = RequestsEdit(self)
        edit.add(request_id, outcome, time_ms)
        return edit.done()

    def forget(self, now_ms: int, *, count_min: int, count_max: int, age_ms_max: int) -> Requests:
        """Without the requests beyond count_max, or older than age_ms_max; the last count_min stay."""
        oldest = self.oldest
        gone: list[Asked] = []
        while (count := self.next - oldest) > count_min:
            request_id = self.order[oldest]
            entry = self.by_id[request_id]
            if count <= count_max and now_ms - entry.time_ms <= age_ms_max:
                break
            gone.append((request_id, entry))
            oldest += 1
        if not gone:
            return self
        by_id, order = self.by_id.mutate(), self.order.mutate()
        for position, (request_id, _) in enumerate(gone, self.oldest):
            del by_id[request_id], order[position]
        return Requests(by_id.finish(), order.finish(), oldest, self.next, self.digest.changed((), gone))

    def in_order(self) -> Iterator[Asked]:
        """Oldest first."""
        for position in range(self.oldest, self.next):
            request_id = self.order[position]
            yield request_id, self.by_id[request_id]


class RequestsEdit:
    """As RecordsEdit: all that one log entry adds, and what it makes forgotten."""

    def __init__(self, base: Requests) -> None:
        self._by_id = base.by_id.mutate()
        self._order = base.order.mutate()
        self._oldest, self._next, self._digest = base.oldest, base.next, base.digest
        self._came: list[Asked] = []

    def get(self, request_id: str) -> Outcome | None:
        found = self._by_id.get(request_id)
        return found.outcome if found is not None else None

    def add(self, request_id: str, outcome: Outcome, time_ms: int) -> None:
        """One more request, which must be new."""
        entry = Remembered(outcome, time_ms, self._next)
        self._by_id[request_id] = entry
        self._order[self._next] = request_id
        self._next += 1
        self._came.append((request_id, entry))

    def done(self, total: int | None = None) -> Requests:
        """To be called once. total: the digest, if the caller knows it."""
        by_id, order, digest = self._by_id.finish(), self._order.finish(), self._digest
        if total is not None:
            digest = Digest(request_hash, total)
        elif self._came:
            digest = digest.changed(self._came, ())
        return Requests(by_id, order, self._oldest, self._next, digest)


@dataclass(frozen=True, slots=True)
class State:
    """Everything that applying the log up to `index` made. log_time_ms never goes back."""

    index: int = 0
    term: int = 0
    log_time_ms: int = 0
    records: Records = Records()
    requests: Requests = Requests()

    def get(self, key: Key) -> Record | None:
        return self.records.get(key)

    def scan(self, scope: Scope = Scope()) -> Iterator[Record]:
        return self.records.scan(scope)

    def digest(self) -> str:
        """Equal on replicas that applied the same log up to the same index.

        Costs nothing after work_out(); else it may mean a look at every record.
        The index itself is left out: entries that are no commands do not reach the machine.
        """
        parts = pack((self.log_time_ms, self.records.sum.to_bytes(16), self.requests.sum.to_bytes(16)))
        return blake2b(parts, digest_size=16).hexdigest()

    def work_out(self) -> Iterator[None]:
        """Work out the digest, in steps of about a millisecond."""
        yield from self.records.digest.work_out(self.records.scan)
        yield from self.requests.digest.work_out(self.requests.in_order)

    def at(self, index: int, term: int) -> State:
        return replace(self, index=index, term=term)
