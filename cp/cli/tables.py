"""Tables and ages as kumactl prints them: columns three spaces apart, ages in one unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

GAP = "   "
AGE_MAX_S = 2**63 / 1e9  # the largest duration of Kuma's clock: what the zero time shows, 292 years


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned, padded but for the last column, one line each."""
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns) - 1)]
    text = ""
    for line in lines:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        text += GAP.join([*padded, line[-1]]) + "\n"
    return text


def age(since: str, now: datetime) -> str:
    """The time since an RFC 3339 time: "12s", "3m", "7h", "2d", "292y"; "never" when there is none."""
    if not since:
        return "never"
    then = datetime.fromisoformat(since)
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return human_duration(min((now - then).total_seconds(), AGE_MAX_S))


def human_duration(seconds: float) -> str:
    """One whole unit, the coarser the longer: 59s, 59m, 23h, 364d, 2y. What lies ahead is "never"."""
    whole = int(seconds)
    if whole < -1:
        return "never"
    for limit, unit, letter in _STEPS:
        if whole < limit:
            return f"{max(whole, 0) // unit}{letter}"
    return f"{whole // _YEAR}y"


_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY
# below this many seconds: count in this unit
_STEPS = ((_MINUTE, 1, "s"), (_HOUR, _MINUTE, "m"), (_DAY, _HOUR, "h"), (_YEAR, _DAY, "d"))
