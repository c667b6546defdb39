"""Whose clock it is: pysyncobj reads the time through one global, and every core has its own.

A core enters its clock around each call into pysyncobj. Calls nest (a callback of one node
may call another), and threads do not share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType


class _PerThread(threading.local):
    def __init__(self) -> None:
        self.stack: list[Callable[[], float]] = []


_running = _PerThread()


class Running:
    """`with Running(clock):` makes now() tell that clock's time. May be entered again and again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        _running.stack.append(self._clock)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _running.stack.pop()


def now() -> float:
    """The time of the core that runs, in seconds."""
    return _running.stack[-1]()
