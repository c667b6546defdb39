"""Whose directory it is, who uses it, and that directories of every release open."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from raftstore.datadir import DataDir, Meta, read_meta
from raftstore.errors import Corrupt, DataDirInUse, WrongDataDir
from raftstore.machine import StateMachine
from raftstore.snapshot import load_latest
from raftstore.types import Key
from raftstore.wal import RealDisk, Wal, verify

FIXTURES = Path(__file__).parents[1] / "fixtures"


def open_dir(path: Path, cluster_id: str = "c1", node_id: str = "n1") -> DataDir:
    return DataDir.open(path, cluster_id=cluster_id, node_id=node_id)


def test_a_new_directory_is_made_and_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    open_dir(path).close()
    assert read_meta(path) == Meta("c1", "n1")
    with open_dir(path) as again:
        assert again.wal_path.is_dir() and again.snapshot_path.is_dir()
    assert path.stat().st_mode & 0o077 == 0


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with open_dir(tmp_path), pytest.raises(DataDirInUse, match=rf"in use by process {os.getpid()}"):
        open_dir(tmp_path)
    open_dir(tmp_path).close()


def test_the_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    code = (
        "import os, sys; from raftstore.datadir import DataDir;"
        "d = DataDir.open(sys.argv[1], cluster_id='c1', node_id='n1'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=30)
    open_dir(tmp_path).close()


@pytest.mark.parametrize(
    ("cluster_id", "node_id", "message"),
    [
        ("c1", "n2", "belongs to node 'n1', but this replica is configured as 'n2'"),
        ("c2", "n1", "belongs to cluster 'c1', but this replica is configured as 'c2'"),
    ],
)
def test_another_node_s_or_cluster_s_directory_is_refused(
    tmp_path: Path, cluster_id: str, node_id: str, message: str
) -> None:
    open_dir(tmp_path).close()
    with pytest.raises(WrongDataDir, match=message):
        open_dir(tmp_path, cluster_id, node_id)
    open_dir(tmp_path).close()  # a refusal leaves no lock behind


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    open_dir(tmp_path).close()
    meta = json.loads((tmp_path / "meta.json").read_text())
    (tmp_path / "meta.json").write_text(json.dumps(meta | {"format": 2}))
    with pytest.raises(WrongDataDir, match="has format 2, this release reads format 1"):
        open_dir(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": "x"}'])
def test_an_unreadable_meta_file_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.json").write_text(text)
    with pytest.raises(Corrupt, match=r"meta\.json is unreadable"):
        open_dir(tmp_path)


def test_a_log_without_a_meta_file_is_not_adopted(tmp_path: Path) -> None:
    (tmp_path / "wal").mkdir()
    (tmp_path / "wal" / "000000000001.wal").write_bytes(b"x")
    with pytest.raises(Corrupt, match=r"holds wal but no meta\.json"):
        open_dir(tmp_path)


def test_setting_aside_keeps_the_old_log_and_remembers_not_to_vote(tmp_path: Path) -> None:
    with open_dir(tmp_path) as directory:
        assert directory.set_aside() is None and directory.meta.recovering
        (directory.wal_path / "000000000001.wal").write_bytes(b"old")
        assert directory.set_aside() == tmp_path / "set-aside-1"
        (directory.snapshot_path / "x.snap").write_bytes(b"newer")
        assert directory.set_aside() == tmp_path / "set-aside-2"
    assert (tmp_path / "set-aside-1" / "wal" / "000000000001.wal").read_bytes() == b"old"
    with open_dir(tmp_path) as directory:
        assert directory.meta.recovering and not any(directory.wal_path.iterdir())
        directory.recovered()
    with open_dir(tmp_path) as directory:
        assert not directory.meta.recovering


@pytest.mark.parametrize("version", [1, 2])
def test_a_data_directory_of_every_format_opens(tmp_path: Path, version: int) -> None:
    """Each written once, by the release that brought it (tests/fixtures/make_datadir.py); it must open for
    ever. 1: the first. 2: log segments that lie in files used before."""
    path = tmp_path / "data"
    shutil.copytree(FIXTURES / f"datadir-v{version}", path)
    report = verify(path / "wal")
    assert (report.last_index, report.term, report.vote, report.torn) == (60, 3, "n2", "")
    with open_dir(path, "fixture", "n1") as directory:
        snapshot = load_latest(RealDisk(directory.snapshot_path), cluster_id="fixture")
        assert snapshot is not None and snapshot.header.voters == ("n1", "n2", "n3")
        wal = Wal.open(RealDisk(directory.wal_path), cluster_id="fixture", node_id="n1")
        assert wal.first_index <= snapshot.header.index < wal.last_index == 60
        machine = StateMachine(snapshot.state)
        for command, index, term in wal[:]:
            machine.apply(index, term, command)
        wal.add(b"and goes on", 61, 3)
        wal.close()
    assert verify(path / "wal").last_index == 61
    expected = json.loads((FIXTURES / f"datadir-v{version}.json").read_text())
    assert len(machine.state.records) == expected["records"]
    assert machine.state.digest() == expected["digest"]
    record = machine.state.get(Key("Mesh", "", "m60"))
    assert record is not None and (record.version, record.modified_ms) == (60, 1_700_000_000_060)
