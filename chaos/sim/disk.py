"""A simulated disk that can lose power in the middle of anything.

Whatever a replica awaits is either time, which the schedule stops between any two steps,
or an operation of its disk, or a message leaving. `fuse` counts the latter two: set to n,
the n-th from now does not happen any more, and PowerLost ends whatever was going on. So
one number names each place where a crash can strike: between write and sync, between
sync and rename, half way through opening the log, after the first of three messages.
"""

from __future__ import annotations

from raftstore.wal.memdisk import MemoryDisk


class PowerLost(BaseException):
    """The process is gone. Not an Exception: nothing in a replica may survive it."""


class SimDisk(MemoryDisk):
    """A MemoryDisk with a fuse; None: none is lit."""

    def __init__(self) -> None:
        super().__init__()
        self.fuse: int | None = None

    def burn(self) -> None:
        """One place where a crash could strike. Raises PowerLost."""
        if self.fuse is None:
            return
        self.fuse -= 1
        if self.fuse <= 0:
            self.fuse = None
            raise PowerLost

    def append(self, name: str, data: bytes) -> None:
        self.burn()
        super().append(name, data)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        self.burn()
        super().write_at(name, offset, data)

    def blank(self, name: str, offset: int, size: int) -> None:
        self.burn()
        super().blank(name, offset, size)

    def datasync(self, name: str) -> None:
        self.burn()
        super().datasync(name)

    def truncate(self, name: str, size: int) -> None:
        self.burn()
        super().truncate(name, size)

    def rename(self, name: str, new: str) -> None:
        self.burn()
        super().rename(name, new)

    def unlink(self, name: str) -> None:
        self.burn()
        super().unlink(name)

    def sync_dir(self) -> None:
        self.burn()
        super().sync_dir()
