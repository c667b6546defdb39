"""How fast streams are let in: a token bucket, and two queues before it.

When a replica dies its proxies come to the others all at once. Each stream that opens is some milliseconds of
work (authentication, registration, deriving what it does not share), during which nobody else is served. So
they are let in at a rate; who waits keeps its connection and its last configuration, which costs nobody
anything. Proxies that have no configuration yet serve nothing at all, so they go first.

`Bucket` and `Queue` are pure; `Gate` is their shell on asyncio, with one timer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from xds.limits import LET_IN_AT_ONCE


@dataclass(slots=True)
class Bucket:
    """`rate` tokens a second, at most `burst` at once. A rate of 0 stands for no limit."""

    rate: float
    burst: int
    _tokens: float = field(init=False)
    _at: float | None = None

    def __post_init__(self) -> None:
        self._tokens = float(self.burst)

    def take(self, now: float) -> bool:
        """Take a token if there is one."""
        if not self.rate:
            return True
        self._fill(now)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until there will be a token."""
        if not self.rate:
            return 0.0
        self._fill(now)
        return max(0.0, (1 - self._tokens) / self.rate)

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self._tokens = min(float(self.burst), self._tokens + (now - self._at) * self.rate)
        self._at = now


Turn = asyncio.Future[None]


class Gate:
    """Lets streams in. Use: `await gate.enter(resumed)`; cancelling that leaves the queue.

    rate, burst: as of a Bucket. clock: monotonic seconds.
    """

    def __init__(
        self, rate: float = 0.0, burst: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bucket = Bucket(rate, burst)
        self._clock = clock
        self._fresh: deque[Turn] = deque()
        self._resumed: deque[Turn] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many wait."""
        return sum(not turn.done() for queue in (self._fresh, self._resumed) for turn in queue)

    async def enter(self, resumed: bool) -> None:
        """Return when it is this stream's turn. resumed: the proxy has a configuration from before."""
        if self._next() is None and self._bucket.take(self._clock()):
            return
        loop = asyncio.get_running_loop()
        turn: Turn = loop.create_future()
        (self._resumed if resumed else self._fresh).append(turn)
        self._let_in(loop)
        await turn

    def _let_in(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let in as many as there are tokens for, a few in each turn of the loop, and come back for the others."""
        if self._timer is not None:
            return
        for _ in range(LET_IN_AT_ONCE):
            queue = self._next()
            if queue is None or not self._bucket.take(self._clock()):
                break
            queue.popleft().set_result(None)
        if self._next() is not None:
            self._timer = loop.call_later(self._bucket.wait(self._clock()), self._on_time, loop)

    def _on_time(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self._let_in(loop)

    def _next(self) -> deque[Turn] | None:
        """The queue whose first is next; those who left are dropped."""
        for queue in (self._fresh, self._resumed):
            while queue and queue[0].done():
                queue.popleft()
            if queue:
                return queue
        return None
