"""The garbage collector, kept from holding up Raft.

The state is millions of objects without cycles, and a full collection looks at all of
them: some 100 ms for each 100,000 records, of which three cost an election. So only the
young are searched, few at a time; what survives for a while is set aside (gc.freeze).
Reference counts still free it; only cycles that died old are lost, and they are few.

Whoever makes what will stay (an entry applied, a snapshot read) says so, and it is set aside before
it is ever looked at: that was a tenth of what a write cost. What is in use at such a moment is set
aside with it, so what serves requests must leave no cycles (tests/raftstore/test_replica.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Iterator

# New objects before the youngest are searched: half a millisecond, or three where processors are shared.
YOUNG = 1_000
# Searches of the youngest for each of those that survived one.
OLDER_EVERY = 5
NEVER = 1_000_000
FREEZE_S = 2.0
# Things made, each of a few objects, before they are set aside.
SETTLE_EVERY = 100

_tamed = False
_made = 0


def tame(loop: asyncio.AbstractEventLoop) -> None:
    """From now on, for a process whose main business is a replica."""
    global _tamed
    _tamed = True
    gc.set_threshold(YOUNG, OLDER_EVERY, NEVER)

    def freeze() -> None:
        gc.collect(1)
        gc.freeze()
        loop.call_later(FREEZE_S, freeze)

    freeze()


def made(count: int) -> None:
    """So many things were made that will stay. Does nothing in a process that is not tamed."""
    global _made
    _made += count
    if _made >= SETTLE_EVERY:
        _made = 0
        if _tamed:
            gc.freeze()


@contextlib.contextmanager
def settling() -> Iterator[None]:
    """For a step, in any thread, whose result will stay and that leaves nothing to collect."""
    if not _tamed:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
