"""The garbage collector, kept from holding up a worker.

What a worker derives for its proxies is millions of objects almost without cycles. CPython looks at all of
them whenever their number has grown by a quarter (gc.get_threshold), and nobody is served meanwhile: 0.6 s for
1,500 proxies. Reference counts free nearly everything, so only the young are searched as a matter of course.
What dies old in a cycle is found when the process has become twice as large as after the last full search:
memory stays bounded, and one that does not grow is never held up.

The store's process has a collector of its own (raftstore/collector.py), as Raft can wait even less.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable
from pathlib import Path

# New objects before the youngest are searched, and such searches before those that survived one: some 3 ms.
YOUNG, OLDER_EVERY = 2_000, 10
NEVER = 1_000_000
LOOK_S = 5.0
GROWTH = 2.0
# A process that has just started is smaller, and a full search of it would be for nothing.
LEAST_BYTES = 128 << 20


def tame(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, for a process whose main business is a worker's loop."""
    gc.set_threshold(YOUNG, OLDER_EVERY, NEVER)
    growth = Growth(resident_bytes)

    def look() -> None:
        if growth.is_large():
            gc.collect()
            growth.searched()
        loop.call_later(LOOK_S, look)

    look()


class Growth:
    """Whether a full search is due. `size`: the bytes that the process has in memory."""

    def __init__(self, size: Callable[[], int]) -> None:
        self._size = size
        self._after_last = LEAST_BYTES

    def is_large(self) -> bool:
        return self._size() > GROWTH * self._after_last

    def searched(self) -> None:
        """A full search has freed what it could."""
        self._after_last = max(LEAST_BYTES, self._size())


def resident_bytes() -> int:
    """Of this process (proc(5), statm)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
