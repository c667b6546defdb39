"""A replica's wall clock: what the file says is what its processes add to the time."""

from __future__ import annotations

import struct
import time
from pathlib import Path

from chaos.clocks import AHEAD_S, WallClock


def moved_s(path: Path) -> float:
    (nanoseconds,) = struct.unpack("=q", path.read_bytes())
    return float(nanoseconds) / 1e9


def test_jumps_add_up_and_are_in_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    clock = WallClock(path)
    assert moved_s(path) == AHEAD_S
    clock.jump(3600)
    clock.jump(-1800)
    assert moved_s(path) == AHEAD_S + 1800
    assert abs(clock.now() - (time.time() + AHEAD_S + 1800)) < 60
    clock.reset()
    assert moved_s(path) == AHEAD_S


def test_the_file_stays_the_same_one_since_processes_have_it_mapped(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    clock = WallClock(path)
    inode = path.stat().st_ino
    clock.jump(1)
    assert path.stat().st_ino == inode and path.stat().st_size == 8


def test_processes_are_told_which_clock(tmp_path: Path) -> None:
    assert WallClock(tmp_path / "clock").environ == {"RAFTMESH_WALL_CLOCK": str(tmp_path / "clock")}
