"""Snapshots: what is read is what was written, in any portions, or it is refused."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_strategies import txns

from raftstore import limits
from raftstore.codec import encode_batch
from raftstore.errors import Corrupt, DiskFull, WrongDataDir
from raftstore.machine import StateMachine
from raftstore.snapshot import (
    TRAILER_BYTES_MAX,
    Header,
    SnapshotReader,
    chunks,
    encode,
    header_of,
    identity,
    intact_bytes,
    load,
    load_latest,
    prune,
    save,
    save_in_slices,
    snapshot_name,
    snapshot_names,
)
from raftstore.state import State
from raftstore.types import Key, Put, Record, Txn
from raftstore.wal import MemoryDisk


def a_state(records: int = 1200, requests: int = 700) -> State:
    machine = StateMachine()
    for number in range(max(records, requests)):
        writes = (Put(Key("Mesh", "", f"m{number}"), b"x" * 20),) if number < records else ()
        txn = Txn(writes, request_id=f"r{number}" if number < requests else "")
        machine.apply(number + 1, 3, encode_batch(1000 + number, [txn]))
    return machine.state


def header(state: State, index: int | None = None) -> Header:
    return header_of(state, term=3, voters=("b", "a"), cluster_id="c1", index=index)


STATE = a_state()
DATA = b"".join(encode(header(STATE), STATE))


def test_a_snapshot_comes_back_whole() -> None:
    disk = MemoryDisk()
    name = save(disk, header(STATE), STATE)
    found = load(disk, name, cluster_id="c1")
    assert found.state.digest() == STATE.digest() and found.state.index == 1200
    assert {r.key: r for r in found.state.scan()} == {r.key: r for r in STATE.scan()}
    assert found.header.voters == ("a", "b") and found.header.term == 3


def test_requests_are_remembered_and_forgotten_alike_after_a_restore() -> None:
    reader = SnapshotReader()
    reader.feed(DATA)
    one, two = StateMachine(STATE), StateMachine(reader.finish().state)
    retry = encode_batch(2000, [Txn((Put(Key("Mesh", "", "new"), b""),), request_id="r5")])
    late = encode_batch(10**7, [Txn((), request_id=f"n{n}") for n in range(900)])
    for index, data in ((1300, retry), (1301, late)):
        assert one.apply(index, 3, data) == two.apply(index, 3, data)
    assert one.state.digest() == two.state.digest() and two.duplicates == 1


@settings(max_examples=40)
@given(st.lists(txns, max_size=20))
def test_any_state_survives(batch: list[Txn]) -> None:
    machine = StateMachine()
    machine.apply(1, 1, encode_batch(7, batch))
    reader = SnapshotReader()
    reader.feed(b"".join(encode(header(machine.state), machine.state)))
    assert reader.finish().state.digest() == machine.state.digest()


def test_it_may_stand_above_the_last_command_but_not_below() -> None:
    assert header(STATE, 1300).index == 1300
    with pytest.raises(ValueError, match="stands at index 1200"):
        header(STATE, 1199)


def test_bytes_may_come_in_any_portions() -> None:
    rng = random.Random(1)
    reader, at = SnapshotReader(), 0
    while at < len(DATA):
        size = rng.choice([1, 7, 300, 20_000])
        reader.feed(DATA[at : at + size])
        at += size
    assert reader.finish().state.digest() == STATE.digest() and reader.offset == len(DATA)


def test_a_broken_transfer_is_resumed_behind_the_last_intact_chunk() -> None:
    reader = SnapshotReader()
    offset = reader.feed(DATA[: len(DATA) // 2])
    assert 0 < offset < len(DATA) // 2 and reader.snapshot is None
    assert reader.resume() == offset
    reader.feed(DATA[offset:])
    assert reader.finish().state.digest() == STATE.digest()


def test_every_flipped_byte_is_noticed() -> None:
    state = a_state(3, 2)
    data = b"".join(encode(header(state), state))
    for byte in range(len(data)):
        rotten = bytearray(data)
        rotten[byte] ^= 0x10
        reader = SnapshotReader()
        with pytest.raises((Corrupt, WrongDataDir)):
            reader.feed(bytes(rotten))
            reader.finish()


def frames(data: bytes) -> list[bytes]:
    reader, found, start = SnapshotReader(), [], 0
    for at in range(len(data)):
        if reader.feed(data[at : at + 1]) > start:
            found.append(data[start : reader.offset])
            start = reader.offset
    return found


@pytest.mark.parametrize("change", ["lost", "doubled", "swapped", "cut", "longer"])
def test_chunks_that_are_intact_but_wrong_together_are_refused(change: str) -> None:
    preamble, head, first, second, *rest = frames(DATA)
    wrong = {
        "lost": [preamble, head, second, *rest],
        "doubled": [preamble, head, first, first, second, *rest],
        "swapped": [preamble, head, second, first, *rest],
        "cut": [preamble, head, first, second, *rest[:-1]],
        "longer": [preamble, head, first, second, *rest, first],
    }[change]
    reader = SnapshotReader()
    with pytest.raises(Corrupt):
        reader.feed(b"".join(wrong))
        reader.finish()


def test_another_cluster_s_snapshot_and_a_newer_format_are_refused() -> None:
    with pytest.raises(WrongDataDir, match="belongs to cluster 'c1', not to 'c2'"):
        SnapshotReader(cluster_id="c2").feed(DATA)
    with pytest.raises(WrongDataDir, match="snapshot format 9; this release reads 1"):
        SnapshotReader().feed(DATA[:6] + b"\x09" + DATA[7:])
    with pytest.raises(Corrupt, match="no snapshot"):
        SnapshotReader().feed(b"#!/bin/sh\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"digest": "0" * 32}, "digest differs"), ({"records": 7}, "1200 records, its header says 7")],
)
def test_content_must_agree_with_the_header(change: dict[str, Any], message: str) -> None:
    reader = SnapshotReader()
    with pytest.raises(Corrupt, match=message):
        reader.feed(b"".join(encode(replace(header(STATE), **change), STATE)))


def test_an_announced_giant_is_refused_before_it_is_buffered() -> None:
    reader = SnapshotReader()
    with pytest.raises(Corrupt, match="impossible chunk"):
        reader.feed(DATA[:7] + b"\xff\xff\xff\xff" + bytes(4) + b"\x01")


def test_writing_goes_in_slices_and_is_durable_only_when_done() -> None:
    disk = MemoryDisk()
    save(disk, header(a_state(2, 0)), a_state(2, 0))
    steps = save_in_slices(disk, header(STATE), STATE)
    sizes = [next(steps) for _ in range(3)]
    assert sizes == sorted(sizes)
    disk.power_cut()
    found = load_latest(disk)
    assert found is not None and found.header.index == 2
    save(disk, header(STATE), STATE)
    disk.power_cut()
    found = load_latest(disk)
    assert found is not None and found.header.index == 1200


def test_the_machine_moves_on_while_a_snapshot_is_written() -> None:
    machine, disk = StateMachine(STATE), MemoryDisk()
    steps = save_in_slices(disk, header(STATE), STATE)
    next(steps)
    machine.apply(5000, 3, encode_batch(0, [Txn((Put(Key("Mesh", "", "m0"), b"changed"),))]))
    for _ in steps:
        pass
    found = load_latest(disk)
    assert found is not None and found.state.digest() == STATE.digest() != machine.state.digest()


def test_old_ones_are_pruned_and_half_written_ones_too() -> None:
    disk = MemoryDisk()
    for index in (1200, 1300, 1400):
        save(disk, header(STATE, index), STATE)
    next(save_in_slices(disk, header(STATE, 1500), STATE))
    assert len(prune(disk, keep=2)) == 2
    assert snapshot_names(disk) == disk.list() == [f"{n:020d}.snap" for n in (1300, 1400)]


def test_one_that_is_being_written_survives_a_newer_one() -> None:
    """The leader's may be installed meanwhile: without its file the rest would be written to a new one."""
    disk = MemoryDisk()
    writing = save_in_slices(disk, header(STATE, 1300), STATE)
    next(writing)
    save(disk, header(STATE, 1400), STATE)
    prune(disk, spare={snapshot_name(1300)})
    for _ in writing:
        pass
    assert snapshot_names(disk) == [snapshot_name(1300), snapshot_name(1400)]
    assert load(disk, snapshot_name(1300)).state.digest() == STATE.digest()


def test_a_full_disk_is_said_and_harms_nothing() -> None:
    disk = MemoryDisk()
    save(disk, header(STATE), STATE)
    disk.capacity = disk.used() + 1000
    with pytest.raises(DiskFull, match=r"writing snapshot 0+1300\.snap"):
        save(disk, header(STATE, 1300), STATE)
    prune(disk)
    assert snapshot_names(disk) == ["00000000000000001200.snap"]


def test_a_corrupt_latest_is_not_silently_replaced_by_an_older_one() -> None:
    disk = MemoryDisk()
    save(disk, header(STATE), STATE)
    name = save(disk, header(STATE, 1300), STATE)
    disk.flip(name, 5000)
    with pytest.raises(Corrupt, match=r"checksum mismatch\. Restart .* --recover-from-peers"):
        load_latest(disk)
    assert load_latest(MemoryDisk()) is None


def test_chunks_are_bounded_by_count_and_bytes() -> None:
    big = [
        Record(Key("Mesh", "", str(n)), bytes(limits.SNAPSHOT_CHUNK_BYTES // 2), 1, 0, 0) for n in range(5)
    ]
    assert [len(chunk) for chunk in chunks(big)] == [2, 2, 1]
    small = [Record(Key("Mesh", "", str(n)), b"", 1, 0, 0) for n in range(1001)]
    assert [len(chunk) for chunk in chunks(small)] == [500, 500, 1]
    assert list(chunks([])) == []


def test_a_snapshot_is_told_from_others_by_its_last_bytes() -> None:
    other = b"".join(encode(header(STATE, 1201), STATE))
    assert identity(DATA[-TRAILER_BYTES_MAX:]) == identity(DATA[-40:]) != identity(other[-TRAILER_BYTES_MAX:])
    for tail in (b"", DATA[-TRAILER_BYTES_MAX:-1], b"x" * TRAILER_BYTES_MAX):
        with pytest.raises(Corrupt, match="trailer"):
            identity(tail)


def test_a_part_is_believed_up_to_its_last_intact_chunk() -> None:
    reader = SnapshotReader()
    reader.feed(DATA[: len(DATA) // 2])
    portions = [DATA[at : at + 1000] for at in range(0, len(DATA), 1000)]
    assert intact_bytes(portions) == len(DATA)
    assert intact_bytes([DATA[: len(DATA) // 2]]) == reader.offset
    torn = bytearray(DATA)
    torn[reader.offset + 50] ^= 1
    assert intact_bytes([bytes(torn)]) == reader.offset
    assert intact_bytes([]) == intact_bytes([b"something else"]) == 0


def test_pruning_spares_what_is_being_sent() -> None:
    disk = MemoryDisk()
    for index in (1200, 1300, 1400):
        save(disk, header(STATE, index), STATE)
    parts = [f"{1350:020d}.9-00000000.part", f"{1500:020d}.9-00000000.part"]
    for name in parts:
        disk.append(name, b"x")
    first, second, last = snapshot_names(disk)
    assert set(prune(disk, spare={first})) == {second, parts[0]}
    assert snapshot_names(disk) == [first, last] and parts[1] in disk.list()
