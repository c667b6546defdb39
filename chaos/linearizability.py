"""Is a recorded history of one register linearizable? The search of Wing and Gong, with Lowe's cache.

    Wing, Gong: Testing and Verifying Concurrent Objects (1993)
    Lowe: Testing for Linearizability (2017)

A history is linearizable if every operation can be given one moment between its call and
its return so that, in the order of these moments, each read returns what the last write
before it wrote. An operation whose outcome nobody knows (`returned` is None) may take
effect at any moment after its call, or never.

Keys are independent registers, so each is checked alone, which keeps the search small
(linearizability is local: Herlihy and Wing, 1990).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from raftstore.guarantees import Violation

# More states than this for one key means a workload that is not fit to be checked.
STATES_MAX = 200_000
# A register's value that was written and that nobody read; no value of a workload.
HIDDEN = "\0hidden"


class Linearizable(Violation):
    """No order of the operations explains what the clients saw."""


class TooComplex(Exception):
    """The search gave up: spread the workload over more keys."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a client. `write` is the value written, None for a read of `read`.

    called, returned: seconds of one clock. A read or a write whose answer was lost has
    returned None; leave lost reads out, they say nothing.
    """

    client: str
    key: str
    called: float
    returned: float | None
    write: str | None = None
    read: str | None = None

    @property
    def is_write(self) -> bool:
        return self.write is not None


def check(history: Iterable[Operation], initial: str | None = None) -> int:
    """Raise Linearizable for the first key that is not; the number of operations checked."""
    by_key: dict[str, list[Operation]] = defaultdict(list)
    for operation in history:
        by_key[operation.key].append(operation)
    for key, operations in sorted(by_key.items()):
        if not is_linearizable(operations, initial):
            told = "\n".join(f"  {each}" for each in sorted(operations, key=lambda each: each.called))
            raise Linearizable(f"the operations on {key!r} have no sequential order:\n{told}")
    return sum(len(operations) for operations in by_key.values())


def is_linearizable(operations: Sequence[Operation], initial: str | None = None) -> bool:
    """Whether one register's history is linearizable. Raises TooComplex."""
    search = _Search(operations)
    seen: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, initial)]
    while stack:
        done, value = stack.pop()
        done = search.with_reads(done, value)
        if done & search.must == search.must:
            return True
        if (done, value) in seen:
            continue
        seen.add((done, value))
        if len(seen) > STATES_MAX:
            raise TooComplex(f"more than {STATES_MAX} states for {len(operations)} operations")
        stack.extend(search.next_writes(done, value))
    return False


class _Search:
    """One history; what is in order already is a set of bits, one for each operation.

    Three things need no search, which keeps it short though many writes overlap. A read of
    the present value may come at once: it changes nothing. A write that nobody still has to
    read may come just before another, which hides it. And a write that hides a value which
    somebody still has to read, and nobody will write again, is a dead end.
    """

    def __init__(self, operations: Sequence[Operation]) -> None:
        self._ordered = sorted(operations, key=lambda each: each.called)
        self._returned = [inf if each.returned is None else each.returned for each in self._ordered]
        self.must = sum(1 << n for n, each in enumerate(self._ordered) if each.returned is not None)

    def with_reads(self, done: int, value: str | None) -> int:
        """`done` with every read that may come now and returns what there is."""
        while True:
            reads = sum(
                1 << n
                for n in self._possible(done)
                if not self._is_write(n) and self._ordered[n].read == value
            )
            if not reads:
                return done
            done |= reads

    def next_writes(self, done: int, value: str | None) -> Iterator[tuple[int, str | None]]:
        """The states after the next write, likely ones last."""
        wanted, offered = self._wanted(done), self._offered(done)
        if not wanted <= offered | {value}:
            return
        possible = [n for n in self._possible(done) if self._is_write(n)]
        hidden = sum(1 << n for n in possible if self._value(n) not in wanted and 1 << n & self.must)
        if hidden and (value not in wanted or value in offered):
            yield done | hidden, HIDDEN
        for n in reversed(possible):
            written = self._value(n)
            if written in wanted and (value not in wanted or value in offered or value == written):
                yield done | hidden | 1 << n, written

    def _possible(self, done: int) -> Iterator[int]:
        """Operations that were called before every other pending one returned."""
        pending = [n for n in range(len(self._ordered)) if not done >> n & 1]
        first_return = min((self._returned[n] for n in pending), default=inf)
        return (n for n in pending if self._ordered[n].called <= first_return)

    def _wanted(self, done: int) -> set[str | None]:
        """What pending reads return."""
        return {each.read for n, each in enumerate(self._ordered) if not each.is_write and not done >> n & 1}

    def _offered(self, done: int) -> set[str | None]:
        """What pending writes write."""
        return {each.write for n, each in enumerate(self._ordered) if each.is_write and not done >> n & 1}

    def _is_write(self, n: int) -> bool:
        return self._ordered[n].is_write

    def _value(self, n: int) -> str | None:
        return self._ordered[n].write
