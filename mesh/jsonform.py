"""Small pieces of the JSON forms: structs as plain values, times as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def plain(value: Any) -> Any:
    """A struct as JSON values (dicts and lists, no tuples)."""
    return _decode(_encode(value))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=8192)  # what was written together has one time
def rfc3339(unix_ms: int) -> str:
    """Unix milliseconds as Go writes a time: fraction only when there is one; 0 is the year 1."""
    if unix_ms <= 0:
        return "0001-01-01T00:00:00Z"
    moment = _EPOCH + timedelta(milliseconds=unix_ms)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{unix_ms % 1000:03d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"
