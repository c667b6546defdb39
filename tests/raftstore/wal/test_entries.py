"""Old entries leave the memory, are read back when asked for, and are the same then."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from raftstore.errors import Corrupt
from raftstore.limits import LOG_MEMORY_ENTRIES
from raftstore.wal import MemoryDisk, Wal
from raftstore.wal.entries import LogEntries


class Shelf:
    """A Reader that finds commands by place, and counts how often it is asked."""

    def __init__(self) -> None:
        self.held: dict[int, bytes] = {}
        self.reads = 0

    def commands(self, places: Sequence[int], sizes: Sequence[int]) -> list[bytes]:
        self.reads += 1
        found = [self.held[place] for place in places]
        assert [len(command) for command in found] == list(sizes)
        return found


def filled(count: int, *, bytes_max: int = 10**6, count_max: int = 10) -> tuple[LogEntries, Shelf]:
    shelf = Shelf()
    log = LogEntries(shelf, bytes_max=bytes_max, count_max=count_max)
    for index in range(1, count + 1):
        command = (b"\x02" if index % 10 == 0 else b"\x00") + b"command %d" % index
        shelf.held[100 + index] = command
        log.append(command, index, 1 + index // 20, lsn=index, place=100 + index)
    return log, shelf


def test_only_the_newest_stay_in_memory() -> None:
    log, shelf = filled(50)
    log.evict(durable_lsn=50, committed_index=50)
    assert len(log) == 50 and log.in_memory == 7
    assert log.entry(45) == (b"\x00command 46", 46, 3) and shelf.reads == 0
    assert [entry[1] for entry in log.entries(30, 50)] == list(range(31, 51)) and shelf.reads == 1
    assert log.entry(3) == (b"\x00command 4", 4, 1)


def test_bytes_count_too() -> None:
    log, _ = filled(50, bytes_max=100, count_max=1000)
    log.evict(50, 50)
    assert 1 <= log.in_memory <= 8


def test_what_is_not_durable_or_not_committed_stays() -> None:
    log, _ = filled(50)
    log.evict(durable_lsn=20, committed_index=50)
    assert log.in_memory == 30
    log, _ = filled(50)
    log.evict(durable_lsn=50, committed_index=15)
    assert log.in_memory == 35
    log, _ = filled(5)
    for index in range(6, 31):
        log.append(b"x", index, 1, lsn=index)  # written by nobody yet, so not to be read back
    log.evict(50, 50)
    assert log.in_memory == 25


def test_terms_sizes_and_kinds_need_no_disk() -> None:
    log, shelf = filled(50)
    log.evict(50, 50)
    assert (log.term(0), log.term(49), log.size(8), log.size(9)) == (1, 3, 10, 11)
    assert list(log.positions(b"\x02", 0)) == [9, 19, 29, 39, 49]
    assert list(log.positions(b"\x02", 30)) == [39, 49] and shelf.reads == 0


def test_the_first_is_read_once_however_often_it_is_asked_for() -> None:
    log, shelf = filled(50)
    log.evict(50, 50)
    for _ in range(5):
        assert log.entry(0)[1] == 1
    assert shelf.reads == 1
    log.drop(10)
    assert log.entry(0)[1] == 11 and log.first_index == 11


def test_whoever_lags_reads_on_from_what_was_loaded() -> None:
    log, shelf = filled(50)
    log.evict(50, 50)
    for at in range(40):
        assert log.entries(at, at + 2)[1][1] == at + 2
    assert shelf.reads <= 2


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_plain_list_that_it_stands_for(seed: int) -> None:
    rng, shelf, plain = random.Random(seed), Shelf(), []
    log = LogEntries(shelf, bytes_max=200, count_max=12)
    index = lsn = 0
    for _ in range(300):
        match rng.choices(["append", "cut", "drop", "evict", "read"], [12, 1, 1, 4, 4])[0]:
            case "append":
                index, lsn = index + 1, lsn + 1
                command = rng.randbytes(rng.randint(1, 30))
                shelf.held[lsn] = command
                log.append(command, index, lsn, lsn)
                log.placed(index, lsn)
                plain.append((command, index, lsn))
            case "cut" if plain:
                at = rng.randrange(len(plain))
                log.cut(at)
                del plain[at:]
                index = plain[-1][1] if plain else index - 1
                index = index if plain else 0
            case "drop" if len(plain) > 1:
                at = rng.randrange(len(plain) - 1)
                log.drop(at)
                del plain[:at]
            case "evict":
                log.evict(lsn - rng.randint(0, 3), index - rng.randint(0, 3))
            case "read" if plain:
                start, stop = sorted((rng.randrange(len(plain) + 1), rng.randrange(len(plain) + 1)))
                assert log.entries(start, stop) == plain[start:stop]
                assert log.entry(0) == plain[0]
        assert len(log) == len(plain) and log.last_index == (plain[-1][1] if plain else 0)


def test_a_log_reads_its_own_segments_back() -> None:
    disk = MemoryDisk()
    wal = Wal.open(disk, cluster_id="c", node_id="n", segment_bytes=1 << 18)
    count = LOG_MEMORY_ENTRIES + 5_000
    for index in range(1, count + 1):
        wal.add(b"\x00entry %d" % index, index, 1)
        wal.setRaftCommitIndex(index)
        if index % 500 == 0:
            wal.flush()
    assert len(wal.segments) > 2 and wal.in_memory < LOG_MEMORY_ENTRIES
    for opened in (wal, Wal.open(disk, cluster_id="c", node_id="n")):
        assert opened.in_memory < count
        assert opened[0] == (b"\x00entry 1", 1, 1) and opened[-1][1] == count
        assert [entry[0] for entry in opened[3000:3100]] == [b"\x00entry %d" % n for n in range(3001, 3101)]
        assert all(entry == (b"\x00entry %d" % n, n, 1) for n, entry in enumerate(opened[:], 1))
    again = Wal.open(disk, cluster_id="c", node_id="n")
    disk.flip(again.segments[0], 5000)
    with pytest.raises(Corrupt, match="recover-from-peers"):
        again[:1000]
