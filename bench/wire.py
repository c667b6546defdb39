"""The little of HTTP/2, gRPC and Protobuf that a measuring client or an onlooker needs.

A benchmark that spends its time in libraries measures those. So frames are split by hand: no flow
control (windows are opened wide once), no header compression (headers are written as literals, and
skipped when read), no message classes (only top-level fields are looked at). RFC 9113; the gRPC
HTTP/2 protocol page; the Protobuf encoding page.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 0x1
END_HEADERS, PADDED = 0x4, 0x8
WINDOW_MAX = 0x7FFFFFFF
FRAME_BYTES_MAX = 0xFFFFFF


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """One HTTP/2 frame."""
    return struct.pack(">IBI", len(body) << 8 | kind, flags, stream)[:9] + body


class Frames:
    """Splits what arrives on one side of a connection into (kind, flags, stream, body)."""

    def __init__(self, *, preface: bool = False) -> None:
        """preface: the sender begins with the client's preface, which is skipped."""
        self._skip = len(PREFACE) if preface else 0
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        buffer = self._rest + data if self._rest else data
        at = min(self._skip, len(buffer))
        self._skip -= at
        while len(buffer) - at >= 9:
            size = int.from_bytes(buffer[at : at + 3], "big")
            end = at + 9 + size
            if len(buffer) < end:
                break
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big") & WINDOW_MAX
            yield buffer[at + 3], buffer[at + 4], stream, buffer[at + 9 : end]
            at = end
        self._rest = buffer[at:]


class Messages:
    """Joins the DATA of one stream into gRPC messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        buffer = self._rest + data if self._rest else data
        at = 0
        while len(buffer) - at >= 5:
            end = at + 5 + int.from_bytes(buffer[at + 1 : at + 5], "big")
            if len(buffer) < end:
                break
            yield buffer[at + 5 : end]
            at = end
        self._rest = buffer[at:]


def payload(flags: int, body: bytes) -> bytes:
    """The data of a DATA frame without its padding."""
    if not flags & PADDED:
        return body
    return body[1 : len(body) - body[0]]


def grpc_message(data: bytes) -> bytes:
    """An uncompressed gRPC message: flag, length, bytes."""
    return b"\x00" + struct.pack(">I", len(data)) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, data: bytes) -> bytes:
    """A length-delimited Protobuf field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited top-level fields of a Protobuf message; others are skipped."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == 2:
            size, at = _read_varint(data, at)
            yield tag >> 3, data[at : at + size]
            at += size
        elif kind == 0:
            _, at = _read_varint(data, at)
        else:
            at += 8 if kind == 1 else 4


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
