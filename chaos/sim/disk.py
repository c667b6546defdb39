"""A simulated disk that can lose power in the middle of anything.

Whatever a replica awaits is either time, which the schedule stops between any two steps,
or an operation of its disk, or a message leaving. `light` counts the latter two: the n-th from now does not happen any
more, and PowerLost ends whatever was going on. So one number names each place where a crash
can strike: between write and sync, between sync and rename, half way through opening the
log, after the first of three messages. Or it counts operations of one kind alone, since the
rarest ones are seldom the n-th of all.
"""

from __future__ import annotations

import random

from chaos.sim.coverage import Coverage, Reached
from raftstore.wal.journal import WIPING
from raftstore.wal.memdisk import MemoryDisk
from raftstore.wal.recovery import SUFFIX


class PowerLost(BaseException):
    """The process is gone. Not an Exception: nothing in a replica may survive it."""


# The kinds of operations that a fuse may wait for.
KINDS = {
    "append": Reached.LOST_AT_APPEND,
    "overwrite": Reached.LOST_AT_OVERWRITE,
    "wipe": Reached.LOST_AT_WIPE,
    "sync": Reached.LOST_AT_SYNC,
    "names": Reached.LOST_AT_NAMES,
    "snapshot": Reached.LOST_AT_SNAPSHOT,
    "message": Reached.LOST_AT_MESSAGE,
}


class SimDisk(MemoryDisk):
    """A MemoryDisk with a fuse. reached: what is counted."""

    def __init__(self, reached: Coverage) -> None:
        super().__init__()
        # Whether the last write to the log went over a segment that is used again.
        self.writes_over = False
        self._fuse: int | None = None
        self._fuse_at: Reached | None = None
        self._reached = reached

    def light(self, count: int, kind: str = "") -> None:
        """Lose power at the count-th operation from now; kind: of these alone (KINDS)."""
        self._fuse, self._fuse_at = count, KINDS[kind] if kind else None

    def put_out(self) -> None:
        self._fuse = None

    def burn(self, place: Reached, name: str = "") -> None:
        """One place where a crash could strike, at the file `name`. Raises PowerLost."""
        if self._fuse is None:
            return
        if ".snap" in name:
            place = Reached.LOST_AT_SNAPSHOT
        elif name.endswith(WIPING):
            place = Reached.LOST_AT_WIPE
        if self._fuse_at not in (None, place):
            return
        self._fuse -= 1
        if self._fuse <= 0:
            self._fuse = None
            self._reached[place] += 1
            raise PowerLost

    def power_cut(self, rng: random.Random | None = None) -> None:
        if rng is not None and any(file.overwritten for file in self._files.values()):
            self._reached[Reached.REUSED_TORN] += 1
        super().power_cut(rng)

    def append(self, name: str, data: bytes) -> None:
        self.burn(Reached.LOST_AT_APPEND, name)
        if name.endswith(SUFFIX):
            self.writes_over = False
        super().append(name, data)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        self.burn(Reached.LOST_AT_OVERWRITE, name)
        if name.endswith(SUFFIX):
            self.writes_over = True
            self._reached[Reached.REUSED] += offset == 0
        super().write_at(name, offset, data)

    def blank(self, name: str, offset: int, size: int) -> None:
        self.burn(Reached.LOST_AT_WIPE, name)
        super().blank(name, offset, size)

    def datasync(self, name: str) -> None:
        self.burn(Reached.LOST_AT_SYNC, name)
        super().datasync(name)

    def truncate(self, name: str, size: int) -> None:
        self.burn(Reached.LOST_AT_APPEND, name)
        super().truncate(name, size)

    def rename(self, name: str, new: str) -> None:
        self.burn(Reached.LOST_AT_NAMES, name)
        super().rename(name, new)

    def unlink(self, name: str) -> None:
        self.burn(Reached.LOST_AT_NAMES, name)
        super().unlink(name)

    def sync_dir(self) -> None:
        self.burn(Reached.LOST_AT_NAMES)
        super().sync_dir()
