"""What a power cut leaves: synced bytes under synced names, and at most a prefix of the rest."""

from __future__ import annotations

import random

import pytest

from raftstore.wal import MemoryDisk


def test_unsynced_bytes_and_names_are_lost() -> None:
    disk = MemoryDisk()
    disk.append("kept", b"synced")
    disk.datasync("kept")
    disk.sync_dir()
    disk.append("kept", b" not")
    disk.append("nameless", b"x")
    disk.datasync("nameless")
    disk.power_cut()
    assert disk.list() == ["kept"] and disk.read("kept") == b"synced"


def test_a_torn_write_keeps_a_prefix() -> None:
    lengths = set()
    for seed in range(20):
        disk = MemoryDisk()
        disk.append("a", b"1234")
        disk.datasync("a")
        disk.sync_dir()
        disk.append("a", b"5678")
        disk.power_cut(random.Random(seed))
        assert b"12345678".startswith(disk.read("a"))
        lengths.add(len(disk.read("a")))
    assert lengths == {4, 5, 6, 7, 8}


def test_of_a_write_over_synced_bytes_each_sector_is_old_or_new() -> None:
    seen = set()
    for seed in range(40):
        disk = MemoryDisk()
        disk.append("a", b"o" * 1500)
        disk.datasync("a")
        disk.sync_dir()
        disk.write_at("a", 500, b"n" * 1100)
        assert disk.read("a") == b"o" * 500 + b"n" * 1100 and disk.size("a") == 1600
        disk.power_cut(random.Random(seed))
        found = disk.read("a")
        assert found[:500] == b"o" * 500 and 1500 <= len(found) <= 1600
        sectors = [found[500:512], found[512:1024], found[1024:1500]]
        assert all(len(set(sector)) == 1 for sector in sectors)
        seen.add(bytes(sector[0] for sector in sectors))
    assert len(seen) == 8
    disk = MemoryDisk()
    disk.append("a", b"old")
    disk.datasync("a")
    disk.sync_dir()
    disk.write_at("a", 1, b"NEW")
    disk.power_cut()
    assert disk.read("a") == b"old"
    disk.write_at("a", 0, b"X")
    disk.datasync("a")
    disk.power_cut()
    assert disk.read("a") == b"Xld"


def test_removals_and_renames_come_undone_before_the_directory_is_synced() -> None:
    disk = MemoryDisk()
    for name in ("a", "b"):
        disk.append(name, b"x")
        disk.datasync(name)
    disk.sync_dir()
    disk.unlink("a")
    disk.rename("b", "c")
    disk.power_cut()
    assert disk.list() == ["a", "b"]


def test_a_full_disk_takes_what_fits() -> None:
    disk = MemoryDisk(capacity=3)
    with pytest.raises(OSError, match="No space left"):
        disk.append("a", b"12345")
    assert disk.read("a") == b"123"


def test_flip() -> None:
    disk = MemoryDisk()
    disk.append("a", b"\x00\x00")
    disk.flip("a", 1, 3)
    assert disk.read("a") == b"\x00\x08"
