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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from raftstore.guarantees import Violation

# More states than this for one key means a workload that is not fit to be checked.
STATES_MAX = 2_000_000


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
    ordered = sorted(operations, key=lambda each: each.called)
    called = [each.called for each in ordered]
    returned = [inf if each.returned is None else each.returned for each in ordered]
    must = sum(1 << n for n, each in enumerate(ordered) if each.returned is not None)
    seen: set[tuple[int, str | None]] = set()
    stack: list[tuple[int, str | None]] = [(0, initial)]
    while stack:
        done, value = stack.pop()
        if done & must == must:
            return True
        if (done, value) in seen:
            continue
        seen.add((done, value))
        if len(seen) > STATES_MAX:
            raise TooComplex(f"more than {STATES_MAX} states for {len(ordered)} operations")
        # An operation may come next only if it was called before every other pending one returned.
        first_return = min(returned[n] for n in range(len(ordered)) if not done >> n & 1)
        for n, each in enumerate(ordered):
            if called[n] > first_return:
                break
            if done >> n & 1:
                continue
            if each.is_write:
                stack.append((done | 1 << n, each.write))
            elif each.read == value:
                stack.append((done | 1 << n, value))
    return False
