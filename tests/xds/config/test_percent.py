"""Percentages: exact where Envoy's denominators are, and nothing that is no number."""

from __future__ import annotations

from typing import Any

import pytest

from xds.config.percent import fraction, number


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10, {"numerator": 10}),
        ("10", {"numerator": 10}),
        ("2.5", {"numerator": 250, "denominator": "TEN_THOUSAND"}),
        ("0.0025", {"numerator": 25, "denominator": "MILLION"}),
        (0.5, {"numerator": 50, "denominator": "TEN_THOUSAND"}),
    ],
)
def test_fractions(value: Any, expected: Any) -> None:
    assert fraction(value) == expected


def test_what_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="'lots' is no number"):
        number("lots")
