"""A wall clock per replica, which can jump.

The machine's own clock is not ours to set, and a time namespace moves the monotonic clock
only. So the processes of a replica run with a library in LD_PRELOAD (wallclock.c) that moves
what they read from CLOCK_REALTIME. The monotonic clock, which
elections go by, is left alone: so it is when an operator or NTP sets the clock of a machine.

Every clock is a day ahead to begin with, so that a jump back does not reach the time before
the replica's certificate is valid: that would be another fault.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path

AHEAD_S = 24 * 3600.0
_NS = 1_000_000_000
_FORMAT = "=q"


class WallClock:
    """The wall clock of the processes that run with `environ`."""

    def __init__(self, path: Path) -> None:
        self.moved_s = 0.0
        self._path = path
        self.reset()

    @property
    def environ(self) -> dict[str, str]:
        """For processes that also preload the library."""
        return {"RAFTMESH_WALL_CLOCK": str(self._path)}

    def now(self) -> float:
        """What it shows, in seconds since 1970."""
        return time.time() + self.moved_s

    def jump(self, seconds: float) -> None:
        """At once, also in processes that run; negative is back."""
        self.moved_s += seconds
        with open(self._path, "r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack(_FORMAT, int(self.moved_s * _NS)))

    def reset(self) -> None:
        self.jump(AHEAD_S - self.moved_s)
