"""verify and dump say what a log holds without touching it."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftstore.errors import Corrupt
from raftstore.wal import RealDisk, Report, Wal, dump, verify


@pytest.fixture
def log(tmp_path: Path) -> Path:
    wal = Wal.open(RealDisk(tmp_path), cluster_id="c1", node_id="n1")
    wal.setCurrentTerm(2, "n3")
    for index in (1, 2, 3):
        wal.add(b"cmd%d" % index, index, 2)
    wal.deleteEntriesFrom(2)
    wal.setRaftCommitIndex(2)
    wal.close()
    return tmp_path


def test_verify_sums_up(log: Path) -> None:
    assert verify(log) == Report(1, 6, 1, 2, 2, "n3", 2, "", 2)


def test_dump_lists_every_record_as_it_lies(log: Path) -> None:
    lines = [line for line in dump(log) if line.kind not in ("sync", "commit")]
    assert [line.kind for line in lines] == [
        *("header", "hard_state", "hard_state", "entry", "entry", "entry", "truncate")
    ]
    assert lines[0].fields == ("c1", "n1", 1, 1)
    assert lines[3].fields == (1, 2, b"cmd1") and lines[-1].fields == (3,)


def test_a_torn_tail_is_reported_and_left_alone(log: Path) -> None:
    file = log / "000000000001.wal"
    file.write_bytes(file.read_bytes()[:-5])
    assert "5 bytes" not in verify(log).torn and "cut" in verify(log).torn
    before = file.read_bytes()
    with pytest.raises(Corrupt, match="is damaged at offset"):
        list(dump(log))
    assert file.read_bytes() == before


def test_corruption_is_raised(log: Path) -> None:
    file = log / "000000000001.wal"
    data = bytearray(file.read_bytes())
    data[150] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(Corrupt, match="--recover-from-peers"):
        verify(log)


def test_an_empty_directory_is_an_empty_log(tmp_path: Path) -> None:
    assert verify(tmp_path) == Report(0, 0, 0, 0, 0, None, 0, "", 0)
    assert list(dump(tmp_path)) == []
