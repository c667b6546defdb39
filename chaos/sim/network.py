"""The simulated network: loss, delay, reordering, duplication, partitions, one-way cuts.

Messages are packed and unpacked as on the wire, so nothing is shared by reference.
Between two nodes a message overtakes another only where `reorder` allows it; a link that
is `slow` holds its messages for seconds, across elections.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

Message = dict[str, Any]
Link = tuple[str, str]


@dataclass(slots=True)
class Weather:
    """Probabilities per message, times in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_min_s: float = 0.001
    delay_max_s: float = 0.004
    slow_min_s: float = 0.05
    slow_max_s: float = 3.0


class Network:
    """Messages in flight, by due time."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 0.0
        self.weather = Weather()
        self.cut: set[Link] = set()
        self.slow: set[Link] = set()
        # A directed schedule may hold messages back: True keeps it in `held`.
        self.hold: Callable[[str, str, Message], bool] = lambda source, target, message: False
        self.held: list[tuple[str, str, Message]] = []
        self.sent = 0
        # Sees each message as it is sent, and whether it was lost at once.
        self.watch: Callable[[str, str, Message, bool], None] = lambda source, target, message, lost: None
        self._flying: list[tuple[float, int, str, str, bytes]] = []
        self._last_due: dict[Link, float] = {}
        self._count = 0

    def send(self, source: str, target: str, message: Message) -> None:
        self.sent += 1
        lost = (source, target) in self.cut or self.rng.random() < self.weather.loss
        self.watch(source, target, message, lost)
        if lost:
            return
        if self.hold(source, target, message):
            self.held.append((source, target, message))
            return
        self._fly(source, target, message)
        if self.rng.random() < self.weather.duplicate:
            self._fly(source, target, message)

    def inject(self, source: str, target: str, message: Message) -> None:
        """Deliver `message` with the next batch, whatever the weather."""
        self._push(self.now, source, target, message)

    def due(self) -> list[tuple[str, str, Message]]:
        """What arrives by now, in order; cut links drop what was already under way."""
        arrived = []
        while self._flying and self._flying[0][0] <= self.now:
            _, _, source, target, data = heapq.heappop(self._flying)
            if (source, target) not in self.cut:
                arrived.append((source, target, msgpack.unpackb(data)))
        return arrived

    # --- faults --------------------------------------------------------------------------

    def isolate(self, node: str, others: list[str]) -> None:
        for other in others:
            if other != node:
                self.cut |= {(node, other), (other, node)}

    def split(self, side: list[str], everyone: list[str]) -> None:
        """Two sides that do not hear each other."""
        for one in side:
            for other in everyone:
                if other not in side:
                    self.cut |= {(one, other), (other, one)}

    def heal(self) -> None:
        self.cut.clear()
        self.slow.clear()
        self.weather = Weather()

    # --- inside --------------------------------------------------------------------------

    def _fly(self, source: str, target: str, message: Message) -> None:
        weather, link = self.weather, (source, target)
        if link in self.slow:
            delay = self.rng.uniform(weather.slow_min_s, weather.slow_max_s)
        else:
            delay = self.rng.uniform(weather.delay_min_s, weather.delay_max_s)
        due = self.now + delay
        if self.rng.random() >= weather.reorder:
            due = max(due, self._last_due.get(link, 0.0))
            self._last_due[link] = due
        self._push(due, source, target, message)

    def _push(self, due: float, source: str, target: str, message: Message) -> None:
        self._count += 1
        heapq.heappush(self._flying, (due, self._count, source, target, msgpack.packb(message)))
