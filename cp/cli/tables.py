"""Tables and ages as kumactl prints them: columns three spaces apart, ages in one or two units."""

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
    """The time since an RFC 3339 time: "12s", "3m5s", "7h", "2d4h", "292y"; "never" when there is none."""
    if not since:
        return "never"
    then = datetime.fromisoformat(since)
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return human_duration(min((now - then).total_seconds(), AGE_MAX_S))


def human_duration(seconds: float) -> str:
    """Kubernetes' HumanDuration: the coarser the longer."""
    if seconds < -1:
        return "<invalid>"
    whole = max(int(seconds), 0)
    if whole < 120:
        return f"{whole}s"
    for limit, unit, letter, finer, finer_letter in _STEPS:
        if whole < limit:
            count, rest = divmod(whole, unit)
            rest //= finer
            return f"{count}{letter}{rest}{finer_letter}" if finer_letter and rest else f"{count}{letter}"
    return f"{whole // _YEAR}y"


_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY
# below this many seconds: count in this unit (its letter), with the rest in a finer one
_STEPS = (
    (10 * _MINUTE, _MINUTE, "m", 1, "s"),
    (3 * _HOUR, _MINUTE, "m", 1, ""),
    (8 * _HOUR, _HOUR, "h", _MINUTE, "m"),
    (48 * _HOUR, _HOUR, "h", 1, ""),
    (8 * _DAY, _DAY, "d", _HOUR, "h"),
    (2 * _YEAR, _DAY, "d", 1, ""),
    (8 * _YEAR, _YEAR, "y", _DAY, "d"),
)
