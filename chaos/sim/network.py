"""The simulated network: loss, delay, reordering, duplication, partitions, one-way cuts.

Values are packed and unpacked as on the wire (raftstore/frames.py), so nothing is shared by
reference. Raft's messages, which are dicts, get the worst that any network does: between
two nodes one overtakes another where `reorder` allows it, and a link that is `slow` holds
them for seconds, across elections. Named frames, which are tuples, need a connection:
they arrive in order and once, or the connection is `broken` and must be made anew.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack

Message = dict[str, Any]
Frame = tuple[Any, ...]
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


@dataclass(slots=True)
class _Flying:
    source: str
    target: str
    data: bytes
    is_frame: bool


class Network:
    """What is in flight, by due time. chance(link): the draws of one link, e.g. "A>B"."""

    def __init__(self, chance: Callable[[str], random.Random]) -> None:
        self._chance = chance
        self.now = 0.0
        self.weather = Weather()
        self.cut: set[Link] = set()
        self.slow: set[Link] = set()
        # Links that lost a frame: their connections must be reset once they are not cut any more.
        self.broken: set[Link] = set()
        # A directed schedule may hold messages back: True keeps it in `held`.
        self.hold: Callable[[str, str, Message], bool] = lambda source, target, message: False
        self.held: list[tuple[str, str, Message]] = []
        self.sent = 0
        # Sees each message as it is sent, and whether it was lost at once.
        self.watch: Callable[[str, str, Message, bool], None] = lambda source, target, message, lost: None
        self._flying: list[tuple[float, int, _Flying]] = []
        self._chances: dict[Link, random.Random] = {}
        self._last_due: dict[Link, float] = {}
        self._last_frame_due: dict[Link, float] = {}
        self._count = 0

    def send(self, source: str, target: str, message: Message) -> None:
        self.sent += 1
        rng = self._of(source, target)
        lost = (source, target) in self.cut or rng.random() < self.weather.loss
        self.watch(source, target, message, lost)
        if lost:
            return
        if self.hold(source, target, message):
            self.held.append((source, target, message))
            return
        self._fly(source, target, message)
        if rng.random() < self.weather.duplicate:
            self._fly(source, target, message)

    def send_frame(self, source: str, target: str, frame: Frame) -> None:
        """Over the connection: in order, and not lost unless the connection is."""
        link = (source, target)
        if link in self.cut or link in self.broken:
            self.broken.add(link)
            return
        due = max(self.now + self._delay(link), self._last_frame_due.get(link, 0.0))
        self._last_frame_due[link] = due
        self._push(due, source, target, frame)

    def inject(self, source: str, target: str, message: Message) -> None:
        """Deliver `message` with the next batch, whatever the weather."""
        self._push(self.now, source, target, message)

    def due(self) -> list[tuple[str, str, Message | Frame]]:
        """What arrives by now, in order; cut links drop what was already under way."""
        arrived = []
        while self._flying and self._flying[0][0] <= self.now:
            item = heapq.heappop(self._flying)[2]
            link = (item.source, item.target)
            if item.is_frame and (link in self.cut or link in self.broken):
                self.broken.add(link)
            elif link not in self.cut:
                arrived.append((item.source, item.target, msgpack.unpackb(item.data, use_list=False)))
        return arrived

    def disconnect(self, one: str, other: str) -> None:
        """The connection between two ends, with what is in it; Raft's messages may still come late."""
        both = {(one, other), (other, one)}
        self.broken -= both
        kept = [each for each in self._flying if not (each[2].is_frame and _link(each[2]) in both)]
        if len(kept) < len(self._flying):
            heapq.heapify(kept)
            self._flying = kept

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

    def ring(self, everyone: list[str]) -> None:
        """Each reaches a majority, and no two the same one: only neighbours on a ring hear each other."""
        count = len(everyone)
        reach = max(1, count // 4)
        for at, one in enumerate(everyone):
            for to, other in enumerate(everyone):
                if min((at - to) % count, (to - at) % count) > reach:
                    self.cut |= {(one, other), (other, one)}

    def heal(self) -> None:
        self.cut.clear()
        self.slow.clear()
        self.weather = Weather()

    # --- inside --------------------------------------------------------------------------

    def _of(self, source: str, target: str) -> random.Random:
        found = self._chances.get((source, target))
        if found is None:
            found = self._chances[source, target] = self._chance(f"{source}>{target}")
        return found

    def _delay(self, link: Link) -> float:
        weather, rng = self.weather, self._of(*link)
        if link in self.slow:
            return rng.uniform(weather.slow_min_s, weather.slow_max_s)
        return rng.uniform(weather.delay_min_s, weather.delay_max_s)

    def _fly(self, source: str, target: str, message: Message) -> None:
        link = (source, target)
        due = self.now + self._delay(link)
        if self._of(source, target).random() >= self.weather.reorder:
            due = max(due, self._last_due.get(link, 0.0))
            self._last_due[link] = due
        self._push(due, source, target, message)

    def _push(self, due: float, source: str, target: str, value: Message | Frame) -> None:
        self._count += 1
        flying = _Flying(source, target, msgpack.packb(value), isinstance(value, tuple))
        heapq.heappush(self._flying, (due, self._count, flying))


def _link(item: _Flying) -> Link:
    return item.source, item.target
