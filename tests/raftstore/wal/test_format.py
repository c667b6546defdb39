"""Bytes of headers and records, pinned: they are read for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.limits import WAL_RECORD_BYTES_MAX
from raftstore.wal.format import (
    SYNC_RECORD_BYTES,
    Damage,
    Header,
    Type,
    decode_header,
    decode_record,
    encode_header,
    encode_record,
    encode_sync,
    has_hole,
    is_blank,
    later_epoch,
    reseal,
    seeds_of,
)

SEEDS = seeds_of(3)


def test_the_bytes_of_format_1() -> None:
    seeds = seeds_of(3, version=1)
    assert encode_record(Type.ENTRY, (7, 2, b"cmd"), seeds).hex() == "08000000b59ee61301930702c403636d64"
    assert encode_record(Type.HARD_STATE, (3, None), seeds).hex() == "030000006714c569039203c0"
    header = Header("c", "n", 1, 1, version=1)
    assert encode_header(header).hex() == "524d57414c010700c621251394a163a16e0101"
    assert seeds_of(3, version=1) == seeds_of(4, version=1), "which is why format 2 came"


def test_the_bytes_of_format_2() -> None:
    assert encode_record(Type.ENTRY, (7, 2, b"cmd"), SEEDS).hex() == "080000001e31c39201930702c403636d64"
    assert encode_record(Type.HARD_STATE, (3, None), SEEDS).hex() == "03000000ad965059039203c0"
    assert encode_header(Header("c", "n", 1, 1)).hex() == "524d57414c020700c621251394a163a16e0101"
    assert len(encode_sync(1, 0, SEEDS)) == SYNC_RECORD_BYTES


def test_a_record_of_another_segment_is_damage_until_it_is_sealed_anew() -> None:
    record = encode_record(Type.ENTRY, (7, 2, b"cmd"), SEEDS)
    for other in (seeds_of(4), seeds_of(3, version=1)):
        with pytest.raises(Damage, match="checksum mismatch"):
            decode_record(record, 0, other)
        assert decode_record(reseal(record, other), 0, other).fields() == (7, 2, b"cmd")


@given(st.integers(0, 2**63), st.integers(0, 2**63), st.binary(max_size=50), st.integers(0, 5))
def test_records_come_back(index: int, term: int, command: bytes, offset: int) -> None:
    data = bytes(offset) + encode_record(Type.ENTRY, (index, term, command), SEEDS)
    raw = decode_record(data, offset, SEEDS)
    assert raw.fields() == (index, term, command) and raw.end == len(data) and raw.kind is Type.ENTRY


def test_headers_come_back() -> None:
    header = Header("cluster", "knoten-ü", 12, 3456)
    data = encode_header(header)
    assert decode_header(data + b"more", "x") == (header, len(data))
    with pytest.raises(Damage, match="incomplete"):
        decode_header(data[:5], "x")
    with pytest.raises(ValueError, match="too long together"):
        encode_header(Header("c" * 600, "n" * 600, 1, 1))


def test_what_is_not_a_record_is_damage() -> None:
    good = encode_record(Type.COMMIT, (9,), SEEDS)
    for bad, reason in [
        (good[:8], "head is cut off"),
        (good[:-1], "the record is cut off"),
        (good[:8] + b"\x09" + good[9:], "unknown record type 9"),
        (good[:-1] + b"\x08", "checksum mismatch"),
        (b"\xff\xff\xff\xff" + good[4:], "impossible record length"),
    ]:
        with pytest.raises(Damage, match=reason):
            decode_record(bad, 0, SEEDS)


def test_an_entry_beyond_the_limit_is_not_written() -> None:
    with pytest.raises(ValueError, match="the limit is"):
        encode_record(Type.ENTRY, (1, 1, bytes(WAL_RECORD_BYTES_MAX)), SEEDS)


def test_a_later_epoch_is_found_behind_anything() -> None:
    junk = b"\x00garbage\xf5raftlog"  # holds the mark, but is no record
    data = junk + encode_sync(5, 0, SEEDS) + junk + encode_sync(6, 0, SEEDS)
    assert later_epoch(data, 0, 5, SEEDS) == len(data) - SYNC_RECORD_BYTES
    assert later_epoch(data, 0, 4, SEEDS) == len(junk)
    assert later_epoch(data, 0, 6, SEEDS) is None
    assert later_epoch(data, 0, 4, seeds_of(4)) is None, "of another segment's life"


def test_holes_are_whole_zero_sectors() -> None:
    full = b"\x01" * 2048
    assert not has_hole(full, 0, 2048)
    assert has_hole(full[:512] + bytes(512) + full[1024:], 0, 2048)
    assert not has_hole(full[:500] + bytes(512) + full[1012:], 0, 2048)
    assert has_hole(full[:500] + bytes(1548), 500, 2048)
    assert has_hole(full[:510] + bytes(2) + full[512:], 510, 700), (
        "all that the record has in its first sector"
    )
    assert not has_hole(full[:600] + bytes(1448), 500, 600), "beyond the batch nothing has to be written"


def test_zeros_are_the_unused_end_of_a_segment() -> None:
    assert is_blank(b"\x01" + bytes(100), 1) and is_blank(b"\x01", 1)
    assert not is_blank(bytes(50) + b"\x01", 0) and not is_blank(b"\x01" + bytes(50), 0)
