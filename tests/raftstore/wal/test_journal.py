"""The log's behaviour in memory, its group commit, its rotation, and what a power cut leaves."""

from __future__ import annotations

import random

import pytest

from raftstore.errors import Corrupt, DiskFailed, DiskFull
from raftstore.wal import MemoryDisk, Wal
from raftstore.wal.journal import FREE, WIPING
from raftstore.wal.recovery import segment_names


def open_wal(disk: MemoryDisk, segment_bytes: int = 1 << 20) -> Wal:
    return Wal.open(disk, cluster_id="c1", node_id="n1", segment_bytes=segment_bytes)


def filled(disk: MemoryDisk, count: int, segment_bytes: int = 1 << 20, size: int = 10) -> Wal:
    wal = open_wal(disk, segment_bytes)
    for index in range(1, count + 1):
        wal.add(b"x" * size, index, 1)
        wal.flush()
    return wal


def test_entries_are_tuples_and_slices_as_pysyncobj_reads_them() -> None:
    wal = filled(MemoryDisk(), 3)
    assert wal[0] == (b"x" * 10, 1, 1)
    assert wal[-1][1] == 3
    assert [entry[1] for entry in wal[1:]] == [2, 3]
    assert (len(wal), wal.first_index, wal.last_index) == (3, 1, 3)


def test_nothing_is_durable_before_the_batch_is_written() -> None:
    wal = open_wal(MemoryDisk())
    wal.add(b"a", 1, 1)
    wal.add(b"b", 2, 1)
    batch = wal.take()
    wal.add(b"c", 3, 1)
    assert batch is not None and wal.durable_index == 0 and wal.pending()
    wal.write(batch)
    assert wal.durable_index == 0
    wal.mark_durable(batch.lsn)
    assert (wal.durable_index, wal.durable_lsn, wal.lsn) == (2, 2, 3)
    wal.flush()
    assert wal.durable_index == 3 and not wal.pending() and wal.take() is None


def test_one_sync_serves_all_that_waits() -> None:
    disk = MemoryDisk()
    wal = open_wal(disk)
    for index in range(1, 101):
        wal.add(b"x", index, 1)
    before = disk.syncs
    wal.flush()
    assert disk.syncs == before + 1


def test_flush_writes_batches_in_order_even_when_an_earlier_one_was_taken() -> None:
    disk = MemoryDisk()
    wal = open_wal(disk)
    wal.add(b"a", 1, 1)
    first = wal.take()
    assert first is not None
    wal.setCurrentTerm(2, "n1")  # flushes: must not overtake the batch a thread holds
    assert wal.durable_index == 1
    wal.write(first)  # the thread comes late: nothing left to do
    again = open_wal(disk)
    assert (again.last_index, again.getCurrentTerm(), again.getVotedForNodeId()) == (1, 2, "n1")


def test_everything_survives_reopening() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 5)
    wal.setCurrentTerm(4, None)
    wal.deleteEntriesFrom(3)
    wal.add(b"other", 4, 4)
    wal.setRaftCommitIndex(3)
    wal.close()
    again = open_wal(disk)
    assert [entry[1:] for entry in again[:]] == [(1, 1), (2, 1), (3, 1), (4, 4)]
    assert again[-1][0] == b"other"
    assert (again.getCurrentTerm(), again.getVotedForNodeId(), again.getRaftCommitIndex()) == (4, None, 3)
    assert again.durable_index == 4 and again.torn == ""


def test_the_commit_index_never_exceeds_the_log() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 2)
    wal.setRaftCommitIndex(9)
    wal.close()
    assert open_wal(disk).getRaftCommitIndex() == 2
    assert open_wal(MemoryDisk()).getRaftCommitIndex() == 1


def test_clear_makes_room_for_a_snapshot() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 3)
    wal.clear()
    wal.add(b"snap-1", 99, 7)
    wal.add(b"snap", 100, 7)
    wal.close()
    assert [entry[1] for entry in open_wal(disk)[:]] == [99, 100]


def test_a_gap_is_refused() -> None:
    wal = filled(MemoryDisk(), 2)
    with pytest.raises(ValueError, match="entry 4 does not follow entry 2"):
        wal.add(b"x", 4, 1)


def test_hard_state_is_durable_on_return() -> None:
    disk = MemoryDisk()
    open_wal(disk).setCurrentTerm(7, "n3")
    disk.power_cut()
    again = open_wal(disk)
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (7, "n3")


def test_segments_rotate_and_are_dropped_below_the_snapshot() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 40, segment_bytes=500, size=50)
    wal.setCurrentTerm(3, "n2")
    many = len(wal.segments)
    assert many > 3
    wal.drop_to(30)
    assert wal.first_index == 30 and len(wal.segments) < many
    assert list(wal.segments) == segment_names(disk)
    wal.close()
    disk.power_cut()
    again = open_wal(disk)
    assert again.first_index <= 30 and again.last_index == 40
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (3, "n2")


def test_hard_state_and_commit_survive_the_removal_of_the_segment_that_held_them() -> None:
    disk = MemoryDisk()
    wal = open_wal(disk, 300)
    wal.setCurrentTerm(5, "n9")
    wal.setRaftCommitIndex(1)
    for index in range(1, 30):
        wal.add(b"y" * 60, index, 5)
        wal.flush()
    wal.drop_to(29)
    assert "000000000001.wal" not in disk.list()
    disk.power_cut()
    again = open_wal(disk)
    assert (again.getCurrentTerm(), again.getVotedForNodeId(), again.getRaftCommitIndex()) == (5, "n9", 1)


def test_a_segment_is_kept_until_the_next_one_which_restates_the_vote_is_durable() -> None:
    """A follower may apply, and snapshot, what a majority of others has on disk and its own has not."""
    disk = MemoryDisk()
    wal = open_wal(disk, 300)
    wal.setCurrentTerm(5, "n9")
    while len(wal.segments) < 2:
        wal.flush()
        wal.add(b"y" * 60, wal.last_index + 1, 5)
        wal.take()
    wal.drop_to(wal.last_index)
    disk.power_cut()
    again = open_wal(disk, 300)
    assert (again.getCurrentTerm(), again.getVotedForNodeId()) == (5, "n9")


def test_garbage_is_kept_until_the_record_that_voids_it_is_durable() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 20, segment_bytes=300, size=50)
    wal.clear()
    wal.add(b"s", 50, 2)
    wal.collect_garbage()
    disk.power_cut()
    again = open_wal(disk, 300)
    assert (again.first_index, again.last_index) == (1, 20)
    again.clear()
    again.add(b"s", 50, 2)
    again.flush()
    again.collect_garbage()
    disk.power_cut()
    assert [entry[1] for entry in open_wal(disk, 300)[:]] == [50]


def test_what_a_killed_process_wrote_is_synced_before_it_counts_as_durable() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 2)
    wal.add(b"in the page cache", 3, 1)
    batch = wal.take()
    assert batch is not None
    disk.append(batch.segment, batch.data)  # killed between write and sync
    assert open_wal(disk).durable_index == 3
    disk.power_cut()
    assert open_wal(disk).last_index == 3


class Recording(MemoryDisk):
    """Notes removals and directory syncs in order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def unlink(self, name: str) -> None:
        self.calls.append("gone")
        super().unlink(name)

    def rename(self, name: str, new: str) -> None:
        self.calls.append("gone")
        super().rename(name, new)

    def sync_dir(self) -> None:
        self.calls.append("sync_dir")
        super().sync_dir()


def test_each_removal_is_durable_before_the_next_so_that_no_gap_can_appear() -> None:
    disk = Recording()
    wal = filled(disk, 20, segment_bytes=300, size=50)
    disk.calls.clear()
    wal.drop_to(19, collect=False)
    wal.collect_garbage()
    assert len(disk.calls) >= 6 and disk.calls == ["gone", "sync_dir"] * (len(disk.calls) // 2)


def test_disk_full_keeps_the_buffer_and_resumes() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 3)
    disk.capacity = disk.used() + 40
    wal.add(b"z" * 100, 4, 1)
    wal.add(b"z" * 100, 5, 1)
    for _ in range(2):
        with pytest.raises(DiskFull, match="No space"):
            wal.flush()
    assert wal.durable_index == 3 and wal.pending() and wal.pending_bytes > 200
    wal.add(b"z", 6, 1)
    disk.capacity = None
    while wal.pending():
        wal.flush()
    assert wal.durable_index == 6
    disk.power_cut()
    assert [entry[1] for entry in open_wal(disk)[:]] == [1, 2, 3, 4, 5, 6]


def test_a_vote_on_a_full_disk_is_not_durable_until_space_returns() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 1)
    disk.capacity = disk.used()
    with pytest.raises(DiskFull):
        wal.setCurrentTerm(2, "n1")
    assert not wal.hard_state_durable
    with pytest.raises(DiskFull):  # saying it again does not make it so
        wal.setCurrentTerm(2, "n1")
    disk.capacity = None
    wal.setCurrentTerm(2, "n1")
    assert wal.hard_state_durable


def test_rotation_on_a_full_disk_leaves_no_half_segment() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 3, segment_bytes=200)
    disk.capacity = disk.used() + 5
    wal.add(b"w" * 150, 4, 1)
    with pytest.raises(DiskFull):
        wal.flush()
    disk.capacity = None
    wal.flush()
    disk.power_cut()
    assert open_wal(disk).last_index == 4


class FailingSync(MemoryDisk):
    """A disk whose syncs fail with an I/O error once `broken`."""

    broken = False

    def datasync(self, name: str) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        super().datasync(name)


def test_a_failed_sync_is_final() -> None:
    disk = FailingSync()
    wal = filled(disk, 1)
    disk.broken = True
    wal.add(b"a", 2, 1)
    with pytest.raises(DiskFailed, match="Input/output error"):
        wal.flush()
    disk.broken = False
    with pytest.raises(DiskFailed):
        wal.flush()
    assert wal.durable_index == 1


def recycled(disk: MemoryDisk, size: int = 50) -> Wal:
    """A log whose last segment lies in a file that was another's before."""
    wal = filled(disk, 20, segment_bytes=600, size=size)
    wal.drop_to(19)
    assert [name for name in disk.list() if name.endswith(FREE)]
    while any(name.endswith(FREE) for name in disk.list()):
        wal.add(b"y" * size, wal.last_index + 1, 2)
        wal.flush()
    return wal


def test_a_segment_is_wiped_and_used_again() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 20, segment_bytes=600, size=50)
    wal.drop_to(19, collect=False)
    assert wal.collect_garbage() > 1
    (waste,) = [name for name in disk.list() if name.endswith(WIPING)]
    assert b"x" * 50 in disk.read(waste)
    while wal.wipe():
        pass
    (free,) = [name for name in disk.list() if name.endswith(FREE)]
    assert not any(disk.read(free)) and len(disk.read(free)) > 500
    wal = open_wal(disk, 600)
    size = len(disk.read(free))
    while free in disk.list():
        wal.add(b"y" * 50, wal.last_index + 1, 2)
        wal.flush()
    tail = wal.segments[-1]
    assert len(disk.read(tail)) == size and b"x" * 50 not in disk.read(tail), "written over, not made longer"
    again = open_wal(disk, 600)
    assert again.last_index == wal.last_index and again.torn == "", "its unused end is no damage"
    again.add(b"z", again.last_index + 1, 2)
    again.flush()
    assert len(disk.read(tail)) == size and open_wal(disk, 600)[-1][0] == b"z"


def test_a_segment_that_was_being_wiped_is_removed_by_the_next_start() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 20, segment_bytes=600, size=50)
    wal.drop_to(19, collect=False)
    wal.collect_garbage()
    wal = open_wal(disk, 600)
    assert not [name for name in disk.list() if name.endswith(WIPING)] and wal.last_index == 20


def test_what_is_left_of_an_earlier_life_is_never_read() -> None:
    """Even if the zeros never reached the platter: the checksums of another segment do not hold."""
    disk = MemoryDisk()
    wal = recycled(disk)
    tail, first = wal.segments[-1], filled(MemoryDisk(), 8, segment_bytes=600, size=50)
    end, size = wal._tail_bytes, len(disk.read(wal.segments[-1]))
    stale = first._disk.read("000000000001.wal")
    disk.write_at(tail, end, stale[end:size])
    disk.datasync(tail)
    with pytest.raises(Corrupt, match="checksum mismatch"):
        open_wal(disk, 600)


@pytest.mark.parametrize("seed", range(40))
def test_a_torn_write_over_a_used_file_is_torn_not_corrupt(seed: int) -> None:
    """Any of its sectors may be missing, in any order."""
    rng = random.Random(seed)
    disk = MemoryDisk()
    wal = filled(disk, 20, segment_bytes=8000, size=900)
    wal.drop_to(19)
    while any(name.endswith(FREE) for name in disk.list()):
        wal.add(rng.randbytes(rng.randint(1, 700)), wal.last_index + 1, 2)
        wal.flush()
    durable = wal[:]
    for _ in range(rng.randint(1, 4)):
        wal.add(rng.randbytes(rng.randint(1, 1500)), wal.last_index + 1, 3)
    batch = wal.take()
    assert batch is not None and batch.offset > 0
    disk.write_at(batch.segment, batch.offset, batch.data)
    disk.power_cut(rng)
    again = open_wal(disk, 8000)
    found = [entry for entry in again[:] if entry[1] >= durable[0][1]]
    assert len(found) >= len(durable) and found == wal[:][: len(found)]


def test_a_full_disk_takes_the_spare_files_first() -> None:
    disk = MemoryDisk()
    wal = filled(disk, 20, segment_bytes=600, size=50)
    wal.drop_to(19)
    wal = open_wal(disk, 10_000)
    disk.capacity = disk.used() + 5
    wal.add(b"z" * 100, wal.last_index + 1, 2)
    with pytest.raises(DiskFull):
        wal.flush()
    wal.flush()
    assert wal.durable_index == 21 and not [name for name in disk.list() if name.endswith(FREE)]


Log = list[tuple[bytes, int, int]]


class Model:
    """The log as a plain list; `dropped` entries may reappear after a restart, never be required."""

    def __init__(self, wal: Wal) -> None:
        self.dropped: Log = []
        self.states: list[tuple[Log, Log]] = [([], wal[:])]
        self.durable_at = 0
        self.floor = 0

    def note(self, wal: Wal, before: Log) -> None:
        first = wal.first_index
        if not len(wal):
            self.dropped = []
        else:
            gone = [entry for entry in before if entry[1] < first]
            self.dropped += gone
            self.floor = max(self.floor, first) if gone else self.floor
        self.states.append((list(self.dropped), wal[:]))
        if wal.durable_lsn == wal.lsn:
            self.durable_at = len(self.states) - 1

    def allows(self, found: Log) -> bool:
        return any(self._matches(found, *state) for state in self.states[self.durable_at :])

    def _matches(self, found: Log, dropped: Log, kept: Log) -> bool:
        whole = dropped + kept
        required = [entry for entry in kept if entry[1] >= self.floor]
        return len(required) <= len(found) <= len(whole) and whole[len(whole) - len(found) :] == found


def do_something(wal: Wal, rng: random.Random, term: int) -> None:
    action = rng.random()
    if action < 0.6:
        wal.add(rng.randbytes(rng.randint(0, 80)), wal.last_index + 1, term)
    elif action < 0.75 and len(wal):
        wal.deleteEntriesFrom(rng.randrange(len(wal)))
    elif action < 0.8:
        wal.setCurrentTerm(term, rng.choice([None, "n2"]))
    elif action < 0.85 and wal.durable_index > wal.first_index:
        wal.drop_to(rng.randint(wal.first_index, wal.durable_index))
    else:
        wal.flush()


@pytest.mark.parametrize("seed", range(60))
def test_random_work_and_power_cuts_keep_everything_marked_durable(seed: int) -> None:
    """After each cut the log is one that it was at or after the last moment all was durable."""
    rng = random.Random(seed)
    disk = MemoryDisk()
    wal = open_wal(disk, 600)
    for round_ in range(8):
        model = Model(wal)
        for step in range(rng.randint(1, 40)):
            before = wal[:]
            do_something(wal, rng, round_ * 100 + step)
            model.note(wal, before)
        hard = (wal.getCurrentTerm(), wal.getVotedForNodeId())
        disk.power_cut(rng)
        wal = open_wal(disk, 600)
        assert (wal.getCurrentTerm(), wal.getVotedForNodeId()) == hard
        assert model.allows(wal[:])
