"""Framing: what goes in comes out, in whatever pieces; what is not a frame of ours does not."""

from __future__ import annotations

import struct

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore.frames import DEPTH_MAX, FrameDecoder, FrameError, encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def drain(decoder: FrameDecoder) -> list:
    found = []
    while (item := decoder.next()) is not None:
        found.append(item[0])
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(values, max_size=5), st.data())
def test_any_cut_of_the_stream_gives_the_same_values(sent: list, data: st.DataObject) -> None:
    stream = b"".join(encode(value, 1 << 20) for value in sent)
    decoder, got, at = FrameDecoder(1 << 20), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, max(1, len(stream) - at)))
        decoder.feed(stream[at : at + step])
        got += drain(decoder)
        at += step
    assert got == sent
    assert decoder.pending_bytes == 0


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_values_or_a_frame_error_and_nothing_else(garbage: bytes) -> None:
    decoder = FrameDecoder(100)
    decoder.feed(garbage)
    try:
        drain(decoder)
    except FrameError as error:
        assert str(error)


def raw(body: bytes) -> FrameDecoder:
    decoder = FrameDecoder(1000)
    decoder.feed(struct.pack(">I", len(body)) + body)
    return decoder


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (msgpack.packb(msgpack.ExtType(5, b"xx")), "extension type 5"),
        (msgpack.packb(msgpack.Timestamp(1, 0)), "not allowed"),
        (msgpack.packb({1: 2}, strict_types=True), "not msgpack|map's key"),
        (msgpack.packb({b"k": 2}), "map's key"),
        (b"\xc1", "not msgpack"),
        (msgpack.packb(1) + b"\x00", "not msgpack"),
        (b"\x91" * 900, "not msgpack"),
        (b"\x91" * (DEPTH_MAX + 1) + b"\x01", "nested deeper"),
        (b"\xa2\xff\xff", "not msgpack"),
        (b"\xdd\xff\xff\xff\xff", "not msgpack"),
    ],
)
def test_what_is_refused(body: bytes, why: str) -> None:
    with pytest.raises(FrameError, match=why):
        raw(body).next()


def test_the_length_is_judged_before_the_body_arrives() -> None:
    decoder = FrameDecoder(10)
    decoder.feed(struct.pack(">I", 11))
    with pytest.raises(FrameError, match="announces a frame of 11 bytes; the limit is 10"):
        decoder.next()
    empty = FrameDecoder(10)
    empty.feed(struct.pack(">I", 0))
    with pytest.raises(FrameError, match="0 bytes"):
        empty.next()


def test_the_limit_may_be_raised_between_frames() -> None:
    decoder = FrameDecoder(10)
    decoder.feed(encode("hello", 10) + encode("x" * 50, 100))
    assert decoder.next() == ("hello",)
    decoder.bytes_max = 100
    assert decoder.next() == ("x" * 50,)


def test_too_large_or_foreign_values_are_not_encoded() -> None:
    with pytest.raises(FrameError, match="the limit is 10"):
        encode("x" * 20, 10)
    with pytest.raises(FrameError, match="cannot encode"):
        encode(object(), 10)
    with pytest.raises(FrameError, match="cannot encode"):
        encode(2**65, 100)
