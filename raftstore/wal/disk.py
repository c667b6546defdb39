"""The disk as the log sees it: a port, and the real one.

All names are plain file names inside one directory. Calls block; the shell makes the
slow ones in a thread. A simulator implements the same port with unsynced data that a
power cut loses, torn writes, flipped bits, no space, and delays.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

from raftstore.errors import DiskFailed, DiskFull, StoreError

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Disk(Protocol):
    """A directory of append-only files. Every method may raise OSError."""

    def list(self) -> list[str]:
        """File names, sorted."""
        ...

    def read(self, name: str) -> bytes: ...

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        """Up to `size` bytes from `offset` on; fewer, or none, at the file's end."""
        ...

    def append(self, name: str, data: bytes) -> None:
        """Write all of `data` at the end, creating the file if absent. Not durable by itself.

        On an error any prefix of `data` may have been written.
        """
        ...

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        """Write all of `data` over what the file, which must exist, holds there; it may become longer."""
        ...

    def blank(self, name: str, offset: int, size: int) -> None:
        """Write zeros over what the file holds there, durably."""
        ...

    def size(self, name: str) -> int: ...

    def datasync(self, name: str) -> None:
        """Return once the file's content and length are on the platter."""
        ...

    def truncate(self, name: str, size: int) -> None:
        """Cut the file to `size` bytes, durably; creates it if absent."""
        ...

    def rename(self, name: str, new: str) -> None: ...

    def unlink(self, name: str) -> None: ...

    def sync_dir(self) -> None:
        """Return once creations, renames and removals before it are on the platter."""
        ...

    def close(self) -> None: ...


def disk_error(error: OSError, doing: str) -> StoreError:
    """The typed error for a failed call: DiskFull may be retried, DiskFailed may not."""
    text = f"{doing}: {error.strerror or error}"
    return DiskFull(text) if error.errno in NO_SPACE else DiskFailed(text)


class RealDisk:
    """Files in a directory of the operating system. Keeps one descriptor per file it wrote."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._dir = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        # With O_APPEND, Linux appends whatever offset pwrite is given: so two sorts.
        self._open: dict[str, int] = {}
        self._open_at: dict[str, int] = {}

    def _fd(self, name: str) -> int:
        fd = self._open.get(name)
        if fd is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = self._open[name] = os.open(name, flags, 0o600, dir_fd=self._dir)
        return fd

    def _fd_at(self, name: str) -> int:
        fd = self._open_at.get(name)
        if fd is None:
            fd = self._open_at[name] = os.open(name, os.O_RDWR | os.O_CLOEXEC, dir_fd=self._dir)
        return fd

    def list(self) -> list[str]:
        return sorted(entry.name for entry in os.scandir(self.path) if entry.is_file())

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def read_at(self, name: str, offset: int, size: int) -> bytes:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._dir)
        try:
            return os.pread(fd, size, offset)
        finally:
            os.close(fd)

    def append(self, name: str, data: bytes) -> None:
        view, fd = memoryview(data), self._fd(name)
        while view:
            view = view[os.write(fd, view) :]

    def write_at(self, name: str, offset: int, data: bytes) -> None:
        view, fd = memoryview(data), self._fd_at(name)
        while view:
            written = os.pwrite(fd, view, offset)
            view, offset = view[written:], offset + written

    def blank(self, name: str, offset: int, size: int) -> None:
        fd = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._dir)
        try:
            os.pwrite(fd, bytes(size), offset)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def size(self, name: str) -> int:
        return os.stat(name, dir_fd=self._dir).st_size

    def datasync(self, name: str) -> None:
        os.fdatasync(self._fd(name))

    def truncate(self, name: str, size: int) -> None:
        fd = self._fd(name)
        os.ftruncate(fd, size)
        os.fdatasync(fd)

    def rename(self, name: str, new: str) -> None:
        self._forget(name)
        self._forget(new)
        os.rename(name, new, src_dir_fd=self._dir, dst_dir_fd=self._dir)

    def unlink(self, name: str) -> None:
        self._forget(name)
        os.unlink(name, dir_fd=self._dir)

    def sync_dir(self) -> None:
        os.fsync(self._dir)

    def close(self) -> None:
        for name in {*self._open, *self._open_at}:
            self._forget(name)
        if self._dir >= 0:
            os.close(self._dir)
            self._dir = -1

    def _forget(self, name: str) -> None:
        for known in (self._open, self._open_at):
            fd = known.pop(name, None)
            if fd is not None:
                os.close(fd)
