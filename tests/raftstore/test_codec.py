"""Everything comes back as it went; everything else is refused by field."""

from __future__ import annotations

import contextlib
import pickle

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_strategies import keys, txns

from raftstore import codec, limits
from raftstore.codec import CodecError, check_txn, decode_batch, decode_item, decode_txn
from raftstore.errors import TooLarge
from raftstore.types import (
    Bookmark,
    Commit,
    Delete,
    DeleteScope,
    Event,
    Key,
    Op,
    Outcome,
    Put,
    Record,
    Scope,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
    Txn,
)

K = Key("Mesh", "", "default")
numbers = st.integers(0, 2**63 - 1)
records = st.builds(Record, keys, st.binary(max_size=20), numbers, numbers, numbers)
events = st.builds(
    Event,
    *(
        numbers,
        numbers,
        numbers,
        st.text(max_size=5),
        st.text(max_size=5),
        st.text(max_size=5),
        st.just("n1"),
    ),
    *(st.sampled_from(Op), keys, st.none() | st.binary(max_size=9), numbers, numbers),
)
items = st.one_of(
    st.builds(SnapshotStart, numbers, numbers),
    st.builds(SnapshotChunk, st.lists(records, max_size=3).map(tuple)),
    st.builds(SnapshotEnd, numbers),
    st.builds(Commit, numbers, st.lists(events, max_size=3).map(tuple)),
    st.builds(Bookmark, numbers),
)


@given(txns)
def test_transactions_come_back_equal(txn: Txn) -> None:
    assert decode_txn(codec.encode_txn(txn)) == txn
    assert check_txn(txn) == codec.encode_txn(txn)


@given(txns, st.data())
def test_the_fast_decoder_takes_nothing_that_the_strict_one_refuses(txn: Txn, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode_txn(txn))
    for _ in range(data.draw(st.integers(0, 2))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    results: list[Txn | None] = []
    for decode in (decode_txn, lambda raw: codec.txn_from_wire(codec.unpack(raw, "txn"))):
        try:
            results.append(decode(bytes(encoded)))
        except codec.CodecError:
            results.append(None)
    assert results[0] == results[1]


@given(st.one_of(st.integers(0, 2**64 - 1), st.text(max_size=300), st.binary(max_size=70_000)))
def test_packed_bytes_are_those_of_msgpack(value: object) -> None:
    """Digests and logs of every release rest on it."""
    wire = (value, (value, None), True)
    assert codec.pack(wire) == msgpack.packb(wire)


@given(st.lists(txns, max_size=4), st.integers(0, 2**50))
def test_batches_come_back_equal(batch: list[Txn], time_ms: int) -> None:
    assert decode_batch(codec.encode_batch(time_ms, batch)) == codec.Batch(time_ms, tuple(batch))


@given(items)
def test_feed_items_come_back_equal(item: codec.FeedItem) -> None:
    assert decode_item(codec.encode_item(item)) == item


@given(st.builds(Outcome, numbers, st.none() | st.integers(-1, 9), numbers))
def test_outcomes_come_back_equal(outcome: Outcome) -> None:
    assert codec.outcome_from_wire(codec.unpack(codec.pack(codec.outcome_to_wire(outcome)), "x")) == outcome


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_raise_codec_error(data: bytes) -> None:
    for decode in (decode_txn, decode_batch, decode_item):
        with contextlib.suppress(CodecError):
            decode(data)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)


@given(values)
def test_any_msgpack_value_decodes_or_raises_codec_error(value: object) -> None:
    data = msgpack.packb(value)
    for decode in (decode_txn, decode_batch, decode_item):
        with contextlib.suppress(CodecError):
            decode(data)


def test_a_pickle_is_just_bad_bytes() -> None:
    with pytest.raises(CodecError):
        decode_batch(pickle.dumps(("os.system", 1)))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(CodecError, match="not msgpack"):
        decode_txn(b"\x91" * 100_000)


def test_one_bad_transaction_leaves_its_neighbours() -> None:
    good = Txn((Put(K, b"v"),))
    data = codec.join_batch(5, [codec.encode_txn(good), b"\xc1", codec.encode_txn(good)])
    assert decode_batch(data).txns == (good, None, good)


def test_errors_name_the_field() -> None:
    txn = codec.txn_to_wire(Txn((Put(K, b"v"),), actor="a"))
    with pytest.raises(CodecError, match=r"txn\.actor: expected text, got int"):
        codec.txn_from_wire((*txn[:2], 7, *txn[3:]))
    with pytest.raises(CodecError, match=r"write\.value: expected bytes, got str"):
        codec.txn_from_wire((((0, "Mesh", "", "x", "text"),), *txn[1:]))
    with pytest.raises(CodecError, match="batch: version 2; this release knows 1"):
        decode_batch(codec.pack((2, 0, ())))


@pytest.mark.parametrize(
    ("txn", "message"),
    [
        (Txn((Put(K, bytes(limits.VALUE_BYTES_MAX + 1)),)), r"writes\[0\]\.value: \d+ bytes; the limit is"),
        (Txn((Delete(Key("Mesh", "", "n" * 513)),)), r"writes\[0\]\.key: 513 bytes; the limit is 512"),
        (Txn((DeleteScope(Scope("k" * 600)),)), r"writes\[0\]\.key"),
        (Txn((Delete(K),) * (limits.TXN_WRITES_MAX + 1)), "writes: 2001 writes"),
        (Txn((), request_id="r" * 129), "request_id: 129 bytes"),
        (Txn((), cause="é" * 600), "cause: 1200 bytes"),
        (Txn(tuple(Put(K, bytes(limits.VALUE_BYTES_MAX)) for _ in range(9))), "the transaction"),
    ],
)
def test_limits_are_checked_when_submitting(txn: Txn, message: str) -> None:
    with pytest.raises(TooLarge, match=message):
        check_txn(txn)


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(CodecError, match="not valid Unicode"):
        check_txn(Txn((), actor="\ud800"))


def test_limits_do_not_decide_how_an_entry_is_applied() -> None:
    """Else two releases with different limits would diverge over the same log."""
    big = Txn((Put(K, bytes(limits.VALUE_BYTES_MAX + 1)),))
    assert decode_batch(codec.encode_batch(0, [big])).txns == (big,)
