"""Durations as Go writes them (`1h30m`, `500ms`), the notation of Kuma's files and API."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SECONDS_MAX = 2**63 / 1e9  # what 64 bits of nanoseconds can say
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds of a Go duration; `0` needs no unit. Raises ValueError."""
    text = text.strip()
    if text == "0":
        return 0.0
    position, seconds = 0, 0.0
    for match in _PART.finditer(text):
        if match.start() != position:
            break
        seconds += float(match[1]) * _UNITS[match[2]]
        position = match.end()
    if position == 0 or position != len(text):
        raise ValueError(f"{text[:40]!r} is not a duration such as 500ms, 10s, 5m or 72h")
    if seconds > _SECONDS_MAX:
        raise ValueError(
            f"{text[:40]!r} is longer than a duration can be ({_SECONDS_MAX / 31_557_600:.0f} years)"
        )
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest exact Go notation, in whole units: 5.0 -> `5s`, 0.25 -> `250ms`."""
    if seconds == 0:
        return "0s"
    for unit in ("h", "m", "s", "ms", "us"):
        count = seconds / _UNITS[unit]
        if abs(count - round(count)) < 1e-9 and round(count) >= 1:
            return f"{round(count)}{unit}"
    return f"{seconds * 1e9:.0f}ns"
