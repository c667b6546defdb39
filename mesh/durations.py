"""Lengths of time as users write them: Go's ("1h30m", "250ms") and those with days and years ("10y")."""

from __future__ import annotations

import re

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_LONG = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_LONG_UNITS_MS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)


def duration_ns(text: str) -> int:
    """Nanoseconds of a Go duration. Raises ValueError."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text[1:] if text[:1] == "+" else text)
    if rest == "0":
        return 0
    total, at = 0.0, 0
    while at < len(rest):
        part = _PART.match(rest, at)
        if part is None:
            break
        total += float(part.group(1)) * _UNITS_NS[part.group(2)]
        at = part.end()
    if at == 0 or at != len(rest):
        raise ValueError(f'invalid duration "{text}": expected a form such as "15s" or "1h30m"')
    return sign * round(total)


def long_duration_ms(text: str) -> int:
    """Milliseconds of a duration that may have years, weeks and days: "10y", "1d12h". Raises ValueError."""
    match = _LONG.fullmatch(text)
    if not text or match is None:
        raise ValueError(f'invalid duration "{text}": expected a form such as "24h", "30d" or "10y"')
    return sum(int(n) * unit for n, unit in zip(match.groups(), _LONG_UNITS_MS, strict=True) if n)
