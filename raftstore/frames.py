"""Frames on a byte stream: u32 big-endian length, then one msgpack value. Sans-io.

The decoder trusts nothing. A frame's length is judged before a byte of it is kept, its
nesting and its types before anybody sees it: None, bool, int, float, str, bytes, tuples,
and dicts with str keys. Extension types, which is where msgpack libraries hang their own
objects, are refused. Arrays come back as tuples, so that values can be compared and kept.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgpack
import msgspec

Value: TypeAlias = bool | int | float | str | bytes | tuple["Value", ...] | dict[str, "Value"] | None

_pack = msgspec.msgpack.Encoder().encode  # the same bytes as msgpack's, sooner
LENGTH = struct.Struct(">I")
DEPTH_MAX = 12
_SCALARS = frozenset({type(None), bool, int, float, str, bytes})


class FrameError(ValueError):
    """The bytes are not frames of ours, or beyond a limit. The connection must end."""


def encode(value: object, bytes_max: int) -> bytes:
    """One frame. Raises FrameError above `bytes_max` or for a value msgpack does not know."""
    try:
        body = _pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise FrameError(f"cannot encode: {error}") from error
    if len(body) > bytes_max:
        raise FrameError(f"frame of {len(body)} bytes; the limit is {bytes_max}")
    return LENGTH.pack(len(body)) + body


class FrameDecoder:
    """Bytes in, values out. `bytes_max` may be raised once the other side is known."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._buffer = bytearray()
        self._offset = 0

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next(self) -> tuple[Value] | None:
        """The next value, in a 1-tuple (the value may be None); None when more bytes are needed.

        Raises FrameError; after that the decoder must not be used.
        """
        start = self._offset + LENGTH.size
        if len(self._buffer) < start:
            self._free()
            return None
        (length,) = LENGTH.unpack_from(self._buffer, self._offset)
        if not 0 < length <= self.bytes_max:
            raise FrameError(f"announces a frame of {length} bytes; the limit is {self.bytes_max}")
        end = start + length
        if len(self._buffer) < end:
            self._free()
            return None
        with memoryview(self._buffer) as view, view[start:end] as body:
            value = _unpack(body)
        self._offset = end
        return (value,)

    @property
    def pending_bytes(self) -> int:
        return len(self._buffer) - self._offset

    def _free(self) -> None:
        """Free what is consumed once per batch of frames: per frame would copy quadratically."""
        if self._offset:
            del self._buffer[: self._offset]
            self._offset = 0


def _unpack(body: memoryview) -> Value:
    try:
        value: Value = msgpack.unpackb(body, use_list=False, strict_map_key=True, ext_hook=_no_extension)
    except FrameError:
        raise
    except Exception as error:
        raise FrameError(f"not msgpack: {type(error).__name__} {error}") from error
    _check(value, DEPTH_MAX)
    return value


def _no_extension(code: int, data: bytes) -> None:
    raise FrameError(f"msgpack extension type {code} is not allowed")


def _check(value: object, depth: int) -> None:
    kind = type(value)
    if kind in _SCALARS:
        return
    if depth == 0:
        raise FrameError(f"nested deeper than {DEPTH_MAX}")
    if kind is tuple:
        for item in value:  # type: ignore[attr-defined]
            if type(item) not in _SCALARS:
                _check(item, depth - 1)
    elif kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]
            if type(key) is not str:
                raise FrameError(f"a map's key is {type(key).__name__}, not text")
            if type(item) not in _SCALARS:
                _check(item, depth - 1)
    else:
        raise FrameError(f"type {kind.__name__} is not allowed")
