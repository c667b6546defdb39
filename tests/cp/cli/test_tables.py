from datetime import UTC, datetime

import pytest

from cp.cli.tables import age, human_duration, table

HOUR, DAY = 3600, 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "never"),
        (-0.5, "0s"),
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (125, "2m"),
        (HOUR - 1, "59m"),
        (HOUR, "1h"),
        (DAY - 1, "23h"),
        (DAY, "1d"),
        (365 * DAY - 1, "364d"),
        (365 * DAY, "1y"),
        (731 * DAY, "2y"),
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
