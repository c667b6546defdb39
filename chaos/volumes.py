"""A disk per replica: ext4 on a loop device, which can fill up, stall, and lose power.

fill     what is free is taken by a file, so that writes fail with ENOSPC
freeze   `fsfreeze`: every write and fsync waits until `thaw`
cut      EXT4_IOC_SHUTDOWN without flushing the journal: from this instant on nothing
         reaches the device, as in a power cut; what was not synced is gone after `mount`
         (the tests of Linux's file systems cut the power like this)
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from chaos.shell import run

SIZE = 192 << 20
_SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2
_FILL_CHUNK = 1 << 16


class Volume:
    """An image file and where it is mounted."""

    def __init__(self, image: Path, mounted_at: Path) -> None:
        self.image, self.path = image, mounted_at
        self._frozen = False

    async def make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.image, "wb") as file:
            file.truncate(SIZE)
        await run("mkfs.ext4", "-q", "-F", "-m", "0", str(self.image))
        await self.mount()

    async def mount(self) -> None:
        """Also recovers the journal after `cut`."""
        await run("mount", "-o", "loop", str(self.image), str(self.path))

    async def unmount(self) -> None:
        await self.thaw()
        if self.mounted:
            await run("umount", str(self.path))

    async def remove(self) -> None:
        """Unmount, whoever still looks at it, and delete the image."""
        await self.thaw()
        while self.mounted:
            await run("umount", "--lazy", str(self.path))
        self.image.unlink(missing_ok=True)

    @property
    def mounted(self) -> bool:
        """By the kernel's list: after `cut` the file system itself answers nothing."""
        return any(
            line.split()[1] == str(self.path) for line in Path("/proc/mounts").read_text().splitlines()
        )

    # --- faults -----------------------------------------------------------------------------------

    def fill(self) -> None:
        """Leave no free block."""
        with open(self.path / "filler", "wb", buffering=0) as file:
            free = os.statvfs(self.path).f_bavail * os.statvfs(self.path).f_frsize
            for size in (max(0, free - (1 << 20)), _FILL_CHUNK, 4096):
                try:
                    while size:
                        os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), size)
                except OSError:
                    continue  # full to this grain; try a finer one

    def drain(self) -> None:
        """Give the space back."""
        (self.path / "filler").unlink(missing_ok=True)

    async def freeze(self) -> None:
        self._frozen = True
        await run("fsfreeze", "--freeze", str(self.path))

    async def thaw(self) -> None:
        if self._frozen:
            await run("fsfreeze", "--unfreeze", str(self.path))
            self._frozen = False

    def cut(self) -> None:
        """Power is gone: nothing more reaches the device, and what waits for it is lost."""
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(directory)
