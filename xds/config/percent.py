"""Percentages and other numbers that policies may write as text ("2.5") to be exact."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from xds.config.draft import Draft


def decimal(value: int | float | str) -> Decimal:
    """The exact number. Raises ValueError with the text."""
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is no number") from None


def number(value: int | str) -> float:
    """The number as a float. Raises ValueError with the text."""
    return float(decimal(value))


def fraction(value: int | float | str) -> Draft:
    """A FractionalPercent in the coarsest denominator that is exact, at most a millionth."""
    percentage = decimal(value)
    if percentage == int(percentage):
        return {"numerator": int(percentage)}
    hundredths = percentage * 100
    if hundredths == int(hundredths):
        return {"numerator": int(hundredths), "denominator": "TEN_THOUSAND"}
    return {"numerator": round(percentage * 10_000), "denominator": "MILLION"}
