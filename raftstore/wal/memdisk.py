"""A disk in memory that knows what a power cut would leave of it.

For tests, and for a replica that is asked not to keep anything. Content and names are
held twice: as the process sees them, and as the platter holds them; `datasync`,
`truncate` and `sync_dir` copy from the first to the second, `power_cut` the other way.
"""

from __future__ import annotations

import errno
import random


class _File:
    """data: what reads return; synced: how much of it is on the platter."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0


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

    def datasync(self, name: str) -> None:
        self.syncs += 1
        file = self._files[name]
        file.synced = len(file.data)

    def truncate(self, name: str, size: int) -> None:
        file = self._files.setdefault(name, _File())
        del file.data[size:]
        file.synced = len(file.data)

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
            unsynced = len(file.data) - file.synced
            del file.data[file.synced + (rng.randint(0, unsynced) if rng else 0) :]
            file.synced = len(file.data)

    def flip(self, name: str, byte: int, bit: int = 0) -> None:
        """Rot: one bit of what is stored changes."""
        self._files[name].data[byte] ^= 1 << bit
