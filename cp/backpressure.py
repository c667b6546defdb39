"""Clients' writes under way in one worker, and when no more of them are taken.

How many writes a second are possible depends on the machine, the disks and what is written, so
a fixed number of them is either too many or too few. What clients feel is the wait: a write ends at
its deadline, WRITE_TIMEOUT_S, and then its outcome may be unknown. So it is better to refuse one at
the door, of which certainly nothing is written, than to take one that will be late: when the oldest
of many has waited for half of its time, new ones are told to come back. (The idea of judging a
queue by its head's age is CoDel's: Nichols and Jacobson, Controlling Queue Delay, 2012.)
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from cp.limits import WRITES_FEW, WRITES_RETRY_AFTER_S, WRITES_WAIT_S_MAX
from raftstore.errors import Overloaded


class Backpressure:
    """The writes of one worker's clients. clock: in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._numbers = count()
        self._since: OrderedDict[int, float] = OrderedDict()  # the oldest first

    def __len__(self) -> int:
        return len(self._since)

    @contextmanager
    def one(self) -> Iterator[None]:
        """Around one write. Raises Overloaded instead of taking it."""
        now = self._clock()
        waited_s = now - next(iter(self._since.values()), now)
        if len(self._since) >= WRITES_FEW and waited_s > WRITES_WAIT_S_MAX:
            raise Overloaded(
                f"{len(self._since)} writes are under way here, the oldest for {waited_s:.1f} s",
                WRITES_RETRY_AFTER_S,
            )
        number = next(self._numbers)
        self._since[number] = now
        try:
            yield
        finally:
            del self._since[number]
