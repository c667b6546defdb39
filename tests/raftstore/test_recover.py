"""A stopped replica's data: what is checked, what is set aside, and what a lost quorum leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from raftstore.backup import backup, restore
from raftstore.codec import encode_batch
from raftstore.datadir import DataDir, read_meta
from raftstore.entries import NO_OP, REGULAR, Change
from raftstore.errors import Corrupt, WrongDataDir
from raftstore.limits import NEW_LIFE_GAP
from raftstore.machine import StateMachine
from raftstore.members import EVERYBODY_ELSE, ROSTER, Entry, Wanted, decode, encode
from raftstore.recover import new_cluster, prepare_rebuild, verify
from raftstore.snapshot import header_of, load_latest, save
from raftstore.state import State
from raftstore.types import Key, Put, Txn
from raftstore.wal import RealDisk, Wal

IDS = {"cluster_id": "c1", "node_id": "n1"}
ADD = Change.of("add", "n4", frozenset({"n1", "n2", "n3"}))


def command(name: str, value: bytes = b"v") -> bytes:
    return REGULAR + encode_batch(5, [Txn((Put(Key("Thing", "default", name), value),), request_id=name)])


def roster_of(**lines: Entry) -> bytes:
    return REGULAR + encode_batch(5, [Txn((Put(ROSTER, encode(lines)),), request_id="roster")])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory with a log of six entries, of which the first three are known to be committed."""
    path = tmp_path / "data"
    with DataDir.open(path, **IDS) as directory:
        wal = Wal.open(RealDisk(directory.wal_path), cluster_id="c1", node_id="n1")
        wal.setCurrentTerm(4, "n2")
        roster = roster_of(n1=Entry("h1:1", Wanted.VOTER), n4=Entry("h4:1", Wanted.VOTER))
        payloads = [NO_OP, command("a"), roster, ADD.encode(), command("b"), command("tail")]
        for index, payload in enumerate(payloads, 1):
            wal.add(payload, index, 3)
        wal.setRaftCommitIndex(3)
        wal.flush()
        wal.close()
    return path


def segment(path: Path) -> Path:
    (found,) = (path / "wal").glob("*.wal")
    return found


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(bytes(content))


def test_whole_data_is_described(data: Path) -> None:
    found = verify(data)
    assert (found.node_id, found.cluster_id, found.recovering) == ("n1", "c1", False)
    assert (found.log.last_index, found.log.term, found.log.vote, found.snapshots) == (6, 4, "n2", ())


def test_who_has_more_is_told_by_the_last_entry_not_by_elections(data: Path) -> None:
    """It voted in term 4, whose leader's entries it never got: one that has them holds more."""
    assert verify(data).log.term == 4 and verify(data).last == (3, 6)
    state = State(index=9, term=3)
    save(RealDisk(data / "snapshots"), header_of(state, term=3, voters=["n1"], cluster_id="c1"), state)
    assert verify(data).last == (3, 9), "of a snapshot that is ahead of the log"


def test_every_flipped_byte_of_the_log_is_found(data: Path) -> None:
    size = segment(data).stat().st_size
    for offset in range(0, size, 7):
        flip(segment(data), offset)
        try:
            found = verify(data)
        except (Corrupt, WrongDataDir):
            pass
        else:
            assert found.log.torn, f"the flip at {offset} of {size} passed as whole"
        flip(segment(data), offset)
    assert verify(data).log.last_index == 6


def test_a_damaged_snapshot_is_found(data: Path, tmp_path: Path) -> None:
    state = State(index=2, term=3)
    name = save(RealDisk(data / "snapshots"), header_of(state, term=3, voters=["n1"], cluster_id="c1"), state)
    assert [header.index for header in verify(data).snapshots] == [2]
    flip(data / "snapshots" / name, 40)
    with pytest.raises(Corrupt, match="corrupt at offset"):
        verify(data)


def test_a_gap_between_snapshot_and_log_is_found(tmp_path: Path) -> None:
    with DataDir.open(tmp_path, **IDS) as directory:
        wal = Wal.open(RealDisk(directory.wal_path), cluster_id="c1", node_id="n1", segment_bytes=1)
        for index in range(1, 6):
            wal.add(NO_OP, index, 1)
            wal.flush()
        wal.close()
    assert verify(tmp_path).log.segments > 2
    min((tmp_path / "wal").glob("*.wal")).unlink()
    with pytest.raises(Corrupt, match="what was between them is gone"):
        verify(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_what_is_no_data_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(WrongDataDir, match="no data directory"):
        verify(tmp_path / name)


# --- rebuilding from the peers ----------------------------------------------------------------


def test_whole_data_stays_where_it_is(data: Path) -> None:
    before = segment(data).read_bytes()
    assert "whole" in prepare_rebuild(data, **IDS)
    assert segment(data).read_bytes() == before and not list(data.glob("set-aside*"))
    meta = read_meta(data)
    assert meta is not None and not meta.recovering


def test_corrupt_data_is_kept_aside_and_the_replica_silenced(data: Path) -> None:
    name = segment(data).name
    flip(segment(data), segment(data).stat().st_size // 2)
    told = prepare_rebuild(data, **IDS)
    assert "is corrupt at" in told and "set-aside-1" in told
    assert (data / "set-aside-1" / "wal" / name).exists()
    meta = read_meta(data)
    assert meta is not None and meta.recovering


def test_an_empty_disk_silences_too(tmp_path: Path) -> None:
    """It may have voted and acknowledged before it was lost."""
    assert "there is no data" in prepare_rebuild(tmp_path / "new", **IDS)
    meta = read_meta(tmp_path / "new")
    assert meta is not None and meta.recovering


def test_an_unreadable_meta_is_replaced_and_its_log_kept(data: Path) -> None:
    name = segment(data).name
    (data / "meta.json").write_text("{")
    prepare_rebuild(data, **IDS)
    meta = read_meta(data)
    assert meta is not None and meta.recovering
    assert (data / "meta.json.corrupt").read_text() == "{"
    assert list(data.glob(f"set-aside-unowned-*/wal/{name}"))


def test_a_log_whose_meta_is_lost_is_kept_aside_too(data: Path) -> None:
    """Also what is left when setting aside an unreadable one is interrupted."""
    name = segment(data).name
    (data / "meta.json").unlink()
    prepare_rebuild(data, **IDS)
    meta = read_meta(data)
    assert meta is not None and meta.recovering
    assert list(data.glob(f"set-aside-unowned-*/wal/{name}"))


def test_another_replicas_data_is_not_touched(data: Path) -> None:
    flip(segment(data), segment(data).stat().st_size // 2)
    with pytest.raises(WrongDataDir, match="belongs to node 'n1'"):
        prepare_rebuild(data, cluster_id="c1", node_id="n2")
    assert segment(data).exists()


# --- a lost quorum -----------------------------------------------------------------------------


def test_the_survivor_keeps_its_whole_log_and_votes_alone(data: Path) -> None:
    name = segment(data).name
    assert new_cluster(data).log.last_index == 6
    found = verify(data)
    (header,) = found.snapshots
    index = 6 + NEW_LIFE_GAP
    assert (header.index, header.term, header.voters, found.log.term) == (index, 3, ("n1",), 4)
    assert not found.recovering
    assert (data / "set-aside-1" / "wal" / name).exists()
    snapshot = load_latest(RealDisk(data / "snapshots"))
    assert snapshot is not None
    names = {record.key.name for record in snapshot.state.scan()} - {ROSTER.name}
    assert names == {"a", "b", "tail"}, "also what it did not know to be committed"
    record = snapshot.state.get(ROSTER)
    assert record is not None
    assert decode(record.value) == {
        EVERYBODY_ELSE: Entry("", Wanted.REMOVED),
        "n1": Entry("h1:1", Wanted.VOTER),
    }


def test_a_stale_log_that_a_snapshot_was_to_replace_is_not_counted(data: Path) -> None:
    """Killed after the snapshot from the leader had its name, and before the log was void: entries 5 and 6
    here are of a leader that had lost."""
    disk, machine = RealDisk(data / "snapshots"), StateMachine()
    machine.apply(4, 5, command("theirs")[1:])
    save(disk, header_of(machine.state, term=5, voters=["n1", "n2"], cluster_id="c1"), machine.state)
    assert verify(data).last == (5, 4)
    disk.close()
    new_cluster(data)
    snapshot = load_latest(RealDisk(data / "snapshots"))
    assert snapshot is not None and snapshot.header.term == 5
    assert {record.key.name for record in snapshot.state.scan()} - {ROSTER.name} == {"theirs"}


def test_what_is_being_rebuilt_cannot_found_a_cluster(data: Path) -> None:
    with DataDir.open(data, **IDS) as directory:
        directory.set_aside()
    with pytest.raises(WrongDataDir, match="not all data"):
        new_cluster(data)


# --- restoring -----------------------------------------------------------------------------------


def test_a_restored_replica_knows_the_backups_term_and_forgets_its_members(tmp_path: Path) -> None:
    """Entries of an older term than the backup's could lose an election to it."""
    machine = StateMachine()
    machine.apply(8, 7, command("a")[1:])
    machine.apply(9, 7, roster_of(n2=Entry("h2:1", Wanted.VOTER))[1:])
    header = header_of(machine.state, term=7, voters=["n1", "n2"], cluster_id="old")
    backup(tmp_path / "file", header, machine.state)
    restore(tmp_path / "file", tmp_path / "new", cluster_id="c1", node_id="n1", voters=["n1"])
    found = verify(tmp_path / "new")
    assert found.log.term == 7 and found.snapshots[0].voters == ("n1",)
    snapshot = load_latest(RealDisk(tmp_path / "new" / "snapshots"))
    assert snapshot is not None and [record.key.name for record in snapshot.state.scan()] == ["a"]
