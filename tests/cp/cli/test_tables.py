from datetime import UTC, datetime

import pytest

from cp.cli.tables import age, human_duration, table

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-0.5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (10 * MINUTE + 5, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (3 * HOUR + 7 * MINUTE, "3h7m"),
        (8 * HOUR + 7 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (48 * HOUR, "2d"),
        (50 * HOUR, "2d2h"),
        (8 * DAY + 5 * HOUR, "8d"),
        (729 * DAY, "729d"),
        (730 * DAY, "2y"),
        (731 * DAY, "2y1d"),
        (8 * 365 * DAY, "8y"),
    ],
)
def test_durations_get_coarser_as_they_grow(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_the_zero_time_is_the_longest_duration_of_the_clock() -> None:
    assert age("0001-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)) == "292y"
    assert age("", datetime(2026, 1, 1, tzinfo=UTC)) == "never"


def test_columns_are_padded_but_for_the_last() -> None:
    assert table(["NAME", "AGE"], [["a-long-name", "1s"], ["b", "10s"]]) == (
        "NAME          AGE\na-long-name   1s\nb             10s\n"
    )
