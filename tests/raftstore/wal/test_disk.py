"""Real files behave as the port says, and carry a log through a process's end."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from raftstore.errors import DiskFailed, DiskFull
from raftstore.wal import Disk, MemoryDisk, RealDisk, Wal
from raftstore.wal.disk import disk_error


@pytest.fixture(params=["real", "memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return RealDisk(tmp_path) if request.param == "real" else MemoryDisk()


def test_append_read_truncate_rename_unlink(disk: Disk) -> None:
    disk.append("b", b"hello ")
    disk.append("b", b"world")
    disk.append("a", b"")
    disk.datasync("b")
    disk.sync_dir()
    assert disk.list() == ["a", "b"] and disk.read("b") == b"hello world"
    assert disk.read_at("b", 6, 3) == b"wor" and disk.read_at("b", 6, 99) == b"world"
    assert disk.read_at("b", 11, 5) == b""
    disk.truncate("b", 5)
    disk.append("b", b"!")
    assert disk.read("b") == b"hello!"
    disk.rename("b", "a")
    assert disk.list() == ["a"] and disk.read("a") == b"hello!"
    disk.append("a", b"?")
    assert disk.read("a") == b"hello!?"
    disk.unlink("a")
    assert disk.list() == []
    with pytest.raises(FileNotFoundError):
        disk.read("a")
    with pytest.raises(FileNotFoundError):
        disk.read_at("a", 0, 1)
    disk.close()


def test_writing_over_a_file(disk: Disk) -> None:
    disk.append("a", b"hello world")
    disk.write_at("a", 6, b"WORLDS!")
    disk.append("a", b"?")
    assert disk.read("a") == b"hello WORLDS!?" and disk.size("a") == 14
    disk.rename("a", "b")
    disk.write_at("b", 0, b"H")
    disk.datasync("b")
    assert disk.read("b") == b"Hello WORLDS!?"
    with pytest.raises(FileNotFoundError):
        disk.write_at("absent", 0, b"x")
    disk.close()


def test_truncate_makes_an_absent_file(disk: Disk) -> None:
    disk.truncate("new", 0)
    assert disk.read("new") == b""


def test_errors_are_sorted_into_full_and_failed() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        assert isinstance(disk_error(OSError(number, "x"), "writing"), DiskFull)
    failed = disk_error(OSError(errno.EIO, "Input/output error"), "writing segment 3")
    assert isinstance(failed, DiskFailed) and str(failed) == "writing segment 3: Input/output error"


def test_a_really_full_device_is_disk_full() -> None:
    """/dev/full answers every write with ENOSPC."""
    disk = RealDisk("/dev")
    with pytest.raises(OSError, match="No space left") as caught:
        disk.append("full", b"x")
    assert isinstance(disk_error(caught.value, "writing"), DiskFull)
    disk.close()


def test_a_log_on_real_files_reopens(tmp_path: Path) -> None:
    wal = Wal.open(RealDisk(tmp_path), cluster_id="c", node_id="n", segment_bytes=300)
    for index in range(1, 21):
        wal.add(b"x" * 50, index, 1)
        wal.flush()
    wal.drop_to(15)
    wal._destroy()
    again = Wal.open(RealDisk(tmp_path), cluster_id="c", node_id="n", segment_bytes=300)
    assert again.last_index == 20 and again.first_index <= 15
    again.close()


WRITER = """
import sys
from raftstore.wal import RealDisk, Wal
wal = Wal.open(RealDisk(sys.argv[1]), cluster_id="c", node_id="n", segment_bytes=4096)
while True:
    wal.add(b"%d" % (wal.last_index + 1), wal.last_index + 1, 1)
    wal.flush()
    sys.stdout.write(f"{wal.durable_index}\\n")
    sys.stdout.flush()
"""


@pytest.mark.process
def test_kill_9_loses_nothing_that_was_durable(tmp_path: Path) -> None:
    acknowledged = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(60):
            acknowledged = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read().split()
        process.stdout.close()
        process.wait(timeout=10)
        acknowledged = max([acknowledged, *(int(line) for line in rest if line)])
        wal = Wal.open(RealDisk(tmp_path), cluster_id="c", node_id="n")
        assert wal.last_index >= acknowledged >= 60
        assert all(command == b"%d" % index for command, index, _ in wal[:])
        wal.close()
