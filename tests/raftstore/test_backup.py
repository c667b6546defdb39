"""A backup becomes a new cluster, on every replica the same, and nothing is overwritten."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from raftstore.backup import backup, read_backup, restore
from raftstore.codec import encode_batch
from raftstore.datadir import DataDir, read_meta
from raftstore.errors import Compacted, Corrupt, DiskFailed, DiskFull, WrongDataDir
from raftstore.feed import Feed
from raftstore.limits import NEW_LIFE_GAP
from raftstore.machine import StateMachine
from raftstore.snapshot import header_of, load_latest
from raftstore.state import State
from raftstore.types import Key, Put, Txn
from raftstore.wal import RealDisk

VOTERS = ("n1", "n2", "n3")


@pytest.fixture
def state() -> State:
    machine = StateMachine()
    txn = Txn((Put(Key("Mesh", "", "default"), b"v"),), request_id="r1")
    machine.apply(9, 2, encode_batch(5, [txn]))
    return machine.state


@pytest.fixture
def file(tmp_path: Path, state: State) -> Path:
    path = tmp_path / "mesh.backup"
    size = backup(path, header_of(state, term=2, voters=VOTERS, cluster_id="old"), state)
    assert path.stat().st_size == size
    return path


def test_a_backup_reads_back(file: Path, state: State) -> None:
    assert read_backup(file).state.digest() == state.digest()
    assert [p.name for p in file.parent.iterdir()] == ["mesh.backup"]


def test_every_replica_of_the_new_cluster_starts_from_it(file: Path, tmp_path: Path, state: State) -> None:
    for node_id in VOTERS:
        header = restore(file, tmp_path / node_id, cluster_id="new", node_id=node_id, voters=VOTERS)
        assert (header.index, header.term, header.voters) == (9 + NEW_LIFE_GAP, 2, VOTERS)
        with DataDir.open(tmp_path / node_id, cluster_id="new", node_id=node_id) as directory:
            found = load_latest(RealDisk(directory.snapshot_path), cluster_id="new")
        assert found is not None and found.state.digest() == state.digest()


def test_retries_from_before_the_backup_still_apply_once(file: Path) -> None:
    machine = StateMachine(read_backup(file).state)
    txn = Txn((Put(Key("Mesh", "", "default"), b"again"),), request_id="r1")
    assert machine.apply(10, 3, encode_batch(6, [txn])).events == ()


def test_who_watched_what_is_lost_begins_anew(file: Path, tmp_path: Path) -> None:
    """At the same index the new cluster has other events; a watcher that went on there would miss them."""
    restore(file, tmp_path / "n1", cluster_id="new", node_id="n1", voters=["n1"])
    found = load_latest(RealDisk(tmp_path / "n1" / "snapshots"))
    assert found is not None
    with pytest.raises(Compacted):
        Feed(found.state).reader(after=12)


def test_half_of_a_restore_keeps_silent(tmp_path: Path) -> None:
    """Started all the same, it would vote as a replica that holds nothing."""
    machine = StateMachine()
    machine.apply(9, 2, encode_batch(5, [Txn((Put(Key("Mesh", "", "large"), bytes(100_000)),))]))
    header = header_of(machine.state, term=2, voters=VOTERS, cluster_id="old")
    backup(tmp_path / "file", header, machine.state)
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DiskFull):
            restore(tmp_path / "file", tmp_path / "n1", cluster_id="new", node_id="n1", voters=VOTERS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    meta = read_meta(tmp_path / "n1")
    assert meta is not None and meta.recovering


def test_restore_refuses_what_would_do_harm(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "n1"
    with pytest.raises(WrongDataDir, match="choose another cluster id"):
        restore(file, target, cluster_id="old", node_id="n1", voters=VOTERS)
    with pytest.raises(WrongDataDir, match="'n9' is not among the voters n1, n2, n3"):
        restore(file, target, cluster_id="new", node_id="n9", voters=VOTERS)
    assert not target.exists()
    restore(file, target, cluster_id="new", node_id="n1", voters=VOTERS)
    with pytest.raises(WrongDataDir, match="is not empty: restore into a new directory"):
        restore(file, target, cluster_id="new", node_id="n1", voters=VOTERS)


def test_a_damaged_or_missing_backup_is_named(file: Path, tmp_path: Path) -> None:
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(Corrupt, match=r"mesh\.backup is corrupt .*ends before its trailer"):
        read_backup(file)
    with pytest.raises(DiskFailed, match=r"nothing\.backup: No such file"):
        read_backup(tmp_path / "nothing.backup")
