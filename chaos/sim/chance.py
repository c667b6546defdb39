"""Seeded randomness that depends on when and where, not on what was drawn before.

A common generator is one stream: leave out one fault, and every later delay and loss is
another. Here a draw follows from the seed, the step of the clock, the place (a link, a
disk, a timer) and its number at that place within that step. So a schedule from which an
action is taken keeps its weather everywhere else, which is what shrinking lives on, and
what a script says of seed 7 stays true when the simulator draws something new elsewhere.

The mixing is SplitMix64's (Steele, Lea and Flood, 2014), the same on every machine.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from zlib import crc32

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_STEP = 0xD1B54A32D192ED03


def mix(number: int) -> int:
    """64 bits in, 64 well-stirred bits out."""
    number = (number + _GOLDEN) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


class Chance(random.Random):
    """The draws of one place. `step`: the clock, as a whole number."""

    def __init__(self, seed: int, place: str, step: Callable[[], int]) -> None:
        super().__init__(0)
        self._key = mix(mix(seed) ^ crc32(place.encode()))
        self._step = step
        self._at, self._drawn = -1, 0

    def getrandbits(self, count: int, /) -> int:
        bits, have = 0, 0
        while have < count:
            bits, have = bits << 64 | self._draw(), have + 64
        return bits >> (have - count)

    def random(self) -> float:
        return (self._draw() >> 11) * 2.0**-53

    def _draw(self) -> int:
        at = self._step()
        if at != self._at:
            self._at, self._drawn = at, 0
        self._drawn += 1
        return mix((self._key + at * _STEP + self._drawn * _GOLDEN) & _MASK)
