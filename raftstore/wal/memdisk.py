"""A disk in memory that knows what a power cut would leave of it.

For tests, and for a replica that is asked not to keep anything. Content and names are
held twice: as the process sees them, and as the platter holds them; `datasync`,
`truncate` and `sync_dir` copy from the first to the second, `power_cut` the other way.
"""

from __future__ import annotations

import errno
import random

from raftstore.wal.format import SECTOR_BYTES


class _File:
    """data: what reads return; synced: how much of it is on the platter.

    overwritten: (offset, what the platter holds there) of writes over that part, oldest first.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0
        self.overwritten: list[tuple[int, bytes]] = []

    def sync(self) -> None:
        self.synced = len(self.data)
        self.overwritten.clear()

    def cut_power(self, rng: random.Random | None) -> None:
        """Of the part written over, each sector is old or new; of what was appended, a prefix stays."""
        for offset, old in reversed(self.overwritten):
            at, stop = offset, offset + len(old)
            while at < stop:
                end = min(stop, (at // SECTOR_BYTES + 1) * SECTOR_BYTES)
                if rng is None or rng.random() < 0.5:
                    self.data[at:end] = old[at - offset : end - offset]
                at = end
        unsynced = len(self.data) - self.synced
        del self.data[self.synced + (rng.randint(0, unsynced) if rng else 0) :]
        self.sync()


class MemoryDisk:
    """A Disk (see disk.py). `capacity` in bytes; None: endless."""

    def __init__(self, capacity: int | None = None) -> None:
        self.capacity = capacity
        self.syncs = 0
        self._files: dict[str, _File] = {}
        self._names: dict[str, _File] = {}  # the directory on the platter

    def used(self) -> int:
        return sum(len(file.data) for file in self._files.values())

    def list(self) -> list[str]:
        return sorted(self._files)

    def read(self, name: str) -> bytes:
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return bytes(self._files[name].data)

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        return self.read(name)[offset : offset + size]

    def append(self, name: str, data: bytes) -> None:
        file = self._files.setdefault(name, _File())
        room = len(data) if self.capacity is None else max(0, self.capacity - self.used())
        file.data += data[:room]
        if room < len(data):
            raise OSError(errno.ENOSPC, "No space left on device", name)

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        if name not in self._files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        file = self._files[name]
        within = data[: max(0, len(file.data) - offset)]
        on_platter = max(0, min(len(within), file.synced - offset))
        file.overwritten.append((offset, bytes(file.data[offset : offset + on_platter])))
        file.data[offset : offset + len(within)] = within
        if len(within) < len(data):
            self.append(name, data[len(within) :])

    def blank(self, name: str, offset: int, size: int) -> None:
        self.write_at(name, offset, bytes(size))
        self.datasync(name)

    def size(self, name: str) -> int:
        return len(self._files[name].data)

    def datasync(self, name: str) -> None:
        self.syncs += 1
        self._files[name].sync()

    def truncate(self, name: str, size: int) -> None:
        file = self._files.setdefault(name, _File())
        del file.data[size:]
        file.sync()

    def rename(self, name: str, new: str) -> None:
        self._files[new] = self._files.pop(name)

    def unlink(self, name: str) -> None:
        del self._files[name]

    def sync_dir(self) -> None:
        self._names = dict(self._files)

    def close(self) -> None:
        """Nothing to release; what was written stays readable for the next opener."""

    def power_cut(self, rng: random.Random | None = None) -> None:
        """Lose what is not synced; with `rng`, keep a random prefix of it (a torn write)."""
        self._files = dict(self._names)
        for file in self._files.values():
            file.cut_power(rng)

    def flip(self, name: str, byte: int, bit: int = 0) -> None:
        """Rot: one bit of what is stored changes."""
        self._files[name].data[byte] ^= 1 << bit
