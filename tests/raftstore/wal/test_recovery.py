"""Torn or corrupt: every prefix of a log opens, every flipped bit is noticed."""

from __future__ import annotations

import random
from bisect import bisect_right

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raftstore.errors import Corrupt, WrongDataDir
from raftstore.wal import MemoryDisk, Wal
from raftstore.wal.format import (
    SYNC_RECORD_BYTES,
    Type,
    decode_header,
    decode_record,
    encode_record,
    encode_sync,
    seeds_of,
)
from raftstore.wal.recovery import recover

FIRST = "000000000001.wal"


def open_wal(disk: MemoryDisk, segment_bytes: int = 1 << 20, node: str = "n1", cluster: str = "c1") -> Wal:
    return Wal.open(disk, cluster_id=cluster, node_id=node, segment_bytes=segment_bytes)


def write(disk: MemoryDisk, batches: list[int], segment_bytes: int = 1 << 20, size: int = 20) -> list[int]:
    """Append batches of so many entries; after each, the length of the first segment."""
    wal, lengths = open_wal(disk, segment_bytes), []
    for count in batches:
        for _ in range(count):
            wal.add(bytes([wal.last_index % 251 + 1]) * size, wal.last_index + 1, 1)
        wal.flush()
        lengths.append(len(disk.read(FIRST)))
    return lengths


def cut(disk: MemoryDisk, name: str, size: int) -> MemoryDisk:
    copy = MemoryDisk()
    for other in disk.list():
        copy.append(other, disk.read(other)[: size if other == name else None])
    return copy


def test_every_prefix_of_the_last_batch_recovers_to_the_batches_before() -> None:
    disk = MemoryDisk()
    lengths = write(disk, [1, 2, 3])
    for size in range(lengths[1], lengths[2] + 1):
        copy = cut(disk, FIRST, size)
        wal = open_wal(copy)
        assert wal.last_index == (6 if size == lengths[2] else 3)
        assert [entry[1] for entry in wal[:]] == list(range(1, wal.last_index + 1))
        assert bool(wal.torn) == (size not in (lengths[1], lengths[2]))
        wal.add(b"next", wal.last_index + 1, 2)
        wal.flush()
        assert open_wal(copy)[-1] == (b"next", wal.last_index, 2)


def test_after_a_torn_batch_the_next_one_may_need_a_new_segment() -> None:
    """What was left of the torn one would look like an old segment that lost its end."""
    disk = MemoryDisk()
    lengths = write(disk, [1, 3])
    for size in range(lengths[0], lengths[1]):
        copy = cut(disk, FIRST, size)
        write(copy, [1], segment_bytes=lengths[0] + 10)
        assert open_wal(copy).last_index == 2 and len(copy.list()) == 2


def test_the_batch_after_a_torn_one_may_be_torn_too() -> None:
    disk = MemoryDisk()
    lengths = write(disk, [1, 3])
    for size in range(lengths[0], lengths[1], 5):
        copy = cut(disk, FIRST, size)
        (length,) = write(copy, [4])
        for again in range(lengths[0], length):
            assert open_wal(cut(copy, FIRST, again)).last_index == 1


def test_what_earlier_releases_kept_of_a_torn_batch_is_read() -> None:
    """They cut off its last record alone and wrote the next batch behind it."""
    disk, ends = MemoryDisk(), []
    wal = open_wal(disk)
    for index in (1, 2, 3):
        wal.add(b"kept", index, 1)
    wal.flush()
    data, seeds, offset = disk.read(FIRST), seeds_of(1), decode_header(disk.read(FIRST), FIRST)[1]
    while offset < len(data):
        offset = decode_record(data, offset, seeds).end
        ends.append(offset)
    next_batch = encode_record(Type.ENTRY, (3, 2, b"next"), seeds)
    earlier = MemoryDisk()
    earlier.append(FIRST, data[: ends[-2]] + encode_sync(2, len(next_batch), seeds) + next_batch)
    assert open_wal(earlier)[:] == [(b"kept", 1, 1), (b"kept", 2, 1), (b"next", 3, 2)]


def test_every_prefix_of_a_whole_log_opens() -> None:
    """Even with several batches gone: such a file is what a crash before they were synced leaves."""
    disk = MemoryDisk()
    (*_, length) = write(disk, [1, 2, 1])
    for size in range(length + 1):
        indexes = [entry[1] for entry in open_wal(cut(disk, FIRST, size))[:]]
        assert indexes == list(range(1, len(indexes) + 1))


@pytest.mark.parametrize("seed", range(8))
def test_random_work_cut_at_every_byte_is_the_work_up_to_there(seed: int) -> None:
    """Entries, cuts, clears and votes, each durable before the next: a prefix of the bytes is a prefix of them."""
    rng, disk = random.Random(seed), MemoryDisk()
    wal = open_wal(disk)
    states, lengths = [(wal[:], 0, None)], [0]
    for step in range(1, 30):
        action = rng.random()
        if action < 0.6 or not len(wal):
            wal.add(rng.randbytes(rng.randint(0, 30)), wal.last_index + 1, step)
        elif action < 0.8:
            wal.deleteEntriesFrom(rng.randrange(len(wal)))
        else:
            wal.setCurrentTerm(step, rng.choice(["n1", None]))
        wal.flush()
        states.append((wal[:], wal.getCurrentTerm(), wal.getVotedForNodeId()))
        lengths.append(len(disk.read(FIRST)))
    for size in range(lengths[-1] + 1):
        again = open_wal(cut(disk, FIRST, size))
        at = bisect_right(lengths, size) - 1
        found = (again[:], again.getCurrentTerm(), again.getVotedForNodeId())
        assert found == states[at]


def test_every_flipped_bit_of_a_cleanly_written_log_is_noticed() -> None:
    disk = MemoryDisk()
    write(disk, [1, 2, 1], size=8)
    for byte in range(len(disk.read(FIRST))):
        for bit in range(8):
            copy = cut(disk, "", 0)
            copy.flip(FIRST, byte, bit)
            with pytest.raises((Corrupt, WrongDataDir)):
                open_wal(copy)


def test_the_message_names_segment_offset_and_remedy() -> None:
    disk = MemoryDisk()
    lengths = write(disk, [1, 1])
    disk.flip(FIRST, lengths[0] - 1)
    with pytest.raises(Corrupt, match=rf"{FIRST} .*offset \d+: checksum mismatch.*--recover-from-peers"):
        open_wal(disk)


def test_damage_in_an_older_segment_is_corrupt_even_at_its_end() -> None:
    disk = MemoryDisk()
    write(disk, [1] * 30, segment_bytes=300)
    assert len(disk.list()) > 2
    with pytest.raises(Corrupt, match="a later segment exists"):
        open_wal(cut(disk, FIRST, len(disk.read(FIRST)) - 1), 300)


def test_a_missing_segment_is_corrupt() -> None:
    disk = MemoryDisk()
    write(disk, [1] * 30, segment_bytes=300)
    disk.unlink(disk.list()[1])
    with pytest.raises(Corrupt, match=r"000000000002\.wal is missing"):
        open_wal(disk, 300)


def test_a_torn_new_segment_is_discarded() -> None:
    disk = MemoryDisk()
    write(disk, [1] * 30, segment_bytes=300)
    *_, before, last = disk.list()
    for size in range(len(disk.read(last))):
        copy = cut(disk, last, size)
        wal = open_wal(copy, 300)
        assert 20 <= wal.last_index < 30
        wal.add(b"more", wal.last_index + 1, 2)
        wal.flush()
        assert open_wal(copy, 300)[-1][0] == b"more"
    assert before in disk.list()


def test_a_page_that_never_reached_the_disk_is_torn_though_later_ones_did() -> None:
    disk = MemoryDisk()
    lengths = write(disk, [1, 40], size=100)
    data = disk.read(FIRST)
    copy = MemoryDisk()
    copy.append(FIRST, data[:1024] + bytes(1024) + data[2048:])
    assert lengths[0] < 1024
    wal = open_wal(copy)
    assert wal.torn and wal.last_index == 1


def test_a_zeroed_page_in_a_synced_batch_is_corrupt() -> None:
    disk = MemoryDisk()
    write(disk, [1, 40, 1], size=100)
    data = disk.read(FIRST)
    copy = MemoryDisk()
    copy.append(FIRST, data[:1024] + bytes(1024) + data[2048:])
    with pytest.raises(Corrupt, match="a later batch is intact"):
        open_wal(copy)


def test_preallocated_zeros_after_the_last_record_are_cut() -> None:
    disk = MemoryDisk()
    write(disk, [2])
    disk.append(FIRST, bytes(4096))
    assert open_wal(disk).last_index == 2
    assert not recover(disk).torn


def test_garbage_of_a_record_s_size_after_the_last_batch_is_refused() -> None:
    disk = MemoryDisk()
    write(disk, [2])
    disk.append(FIRST, b"\xff" * (SYNC_RECORD_BYTES + 1))
    with pytest.raises(Corrupt):
        open_wal(disk)


def test_another_node_s_or_cluster_s_log_is_refused() -> None:
    disk = MemoryDisk()
    write(disk, [1])
    with pytest.raises(WrongDataDir, match="belongs to node 'n1', not to 'n2'"):
        open_wal(disk, node="n2")
    with pytest.raises(WrongDataDir, match="belongs to cluster 'c1', not to 'c2'"):
        open_wal(disk, cluster="c2")


def test_a_newer_format_is_refused_by_name() -> None:
    disk = MemoryDisk()
    write(disk, [1])
    disk.flip(FIRST, 5)
    with pytest.raises(WrongDataDir, match="log format 3; this release reads formats up to 2"):
        open_wal(disk)


@example([1, 1], 61773, True)  # zeros in place of the header's length and checksum
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 1 << 30), st.booleans())
def test_damage_anywhere_never_invents_or_reorders(batches: list[int], seed: int, hole: bool) -> None:
    """A random flip or zeroed range: refused, or a prefix of what was written."""
    disk = MemoryDisk()
    write(disk, batches, segment_bytes=400)
    written = open_wal(disk, 400)[:]
    rng = random.Random(seed)
    name = rng.choice(disk.list())
    size = len(disk.read(name))
    start = rng.randrange(size)
    for byte in range(start, min(size, start + 600) if hole else start + 1):
        if hole:
            for bit in range(8):
                if disk.read(name)[byte] >> bit & 1:
                    disk.flip(name, byte, bit)
        else:
            disk.flip(name, byte, rng.randrange(8))
    try:
        found = open_wal(disk, 400)[:]
    except (Corrupt, WrongDataDir):
        return
    assert found == written[: len(found)]
