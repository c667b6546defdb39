"""Lengths of time in both spellings."""

from __future__ import annotations

import pytest

from mesh.durations import duration_ns, long_duration_ms


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("15s", 15 * 10**9),
        ("1h30m", 5400 * 10**9),
        ("250ms", 250 * 10**6),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("3us", 3000),
        ("-1s", -(10**9)),
        ("+1ns", 1),
    ],
)
def test_go_durations(text: str, ns: int) -> None:
    assert duration_ns(text) == ns


@pytest.mark.parametrize("text", ["", "5", "s", "1 s", "1d", "1s2", "--1s"])
def test_what_is_no_go_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        duration_ns(text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("24h", 86_400_000), ("1d", 86_400_000), ("10y", 315_360_000_000), ("1w2d", 777_600_000), ("5ms", 5)],
)
def test_long_durations(text: str, ms: int) -> None:
    assert long_duration_ms(text) == ms


@pytest.mark.parametrize("text", ["", "1", "h", "1h1d", "-1h", "1.5h"])
def test_what_is_no_long_duration(text: str) -> None:
    with pytest.raises(ValueError, match="invalid duration"):
        long_duration_ms(text)
