"""Requests that wait: until this replica has applied an index, or for an answer, and no longer than agreed."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Generic, TypeVar

OnApplied = Callable[[bool], None]
T = TypeVar("T")


class AppliedWaits:
    """Callbacks by index and by deadline. Sans-io; `now` is given."""

    def __init__(self) -> None:
        self._by_index: list[tuple[int, int]] = []
        self._by_deadline: list[tuple[float, int]] = []
        self._callbacks: dict[int, OnApplied] = {}
        self._numbers = count()
        self._applied = 0

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, index: int, deadline: float, on_done: OnApplied) -> None:
        """on_done(True) once `index` is applied (at once, if it is), on_done(False) at the deadline."""
        if index <= self._applied:
            on_done(True)
            return
        number = next(self._numbers)
        self._callbacks[number] = on_done
        heapq.heappush(self._by_index, (index, number))
        heapq.heappush(self._by_deadline, (deadline, number))

    def applied(self, index: int) -> None:
        self._applied = max(self._applied, index)
        while self._by_index and self._by_index[0][0] <= index:
            self._finish(heapq.heappop(self._by_index)[1], True)

    def tick(self, now: float) -> None:
        while self._by_deadline and self._by_deadline[0][0] <= now:
            self._finish(heapq.heappop(self._by_deadline)[1], False)

    def _finish(self, number: int, applied: bool) -> None:
        on_done = self._callbacks.pop(number, None)
        if on_done is not None:
            on_done(applied)


class Answers(Generic[T]):
    """Callbacks that are called once: by whoever has the answer, or at their deadline. Sans-io."""

    def __init__(self) -> None:
        self._callbacks: dict[int, Callable[[T], None]] = {}
        self._by_deadline: list[tuple[float, int]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return len(self._callbacks)

    def __contains__(self, number: int) -> bool:
        """Whether it still waits."""
        return number in self._callbacks

    def add(self, deadline: float, on_done: Callable[[T], None]) -> int:
        """The number under which to answer it."""
        number = next(self._numbers)
        self._callbacks[number] = on_done
        heapq.heappush(self._by_deadline, (deadline, number))
        return number

    def answer(self, number: int, result: T) -> None:
        """Nothing happens when it has its answer already."""
        on_done = self._callbacks.pop(number, None)
        if on_done is not None:
            on_done(result)

    def tick(self, now: float, late: Callable[[], T]) -> None:
        """Answer what is late with `late()`."""
        while self._by_deadline and self._by_deadline[0][0] <= now:
            number = heapq.heappop(self._by_deadline)[1]
            if number in self._callbacks:
                self.answer(number, late())
