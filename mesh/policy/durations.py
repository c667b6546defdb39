"""Go durations, and typed specs as plain JSON values with durations in their canonical spelling.

The same time can be written as "60s", "1m" or "0.5m30s".  The API always answers "1m0s", as Go prints it,
and equal values must be equal bytes wherever content is hashed.  So durations are rewritten where a typed
spec becomes plain values.  Which fields are durations is read once from the declared type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any, cast

import msgspec
from msgspec import inspect

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
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"[+-]?(?:0|(?:{_PART.pattern})+)")


def parse_ns(text: str) -> int:
    """Nanoseconds of a Go duration such as "1h30m", "250ms" or "0".  Raises ValueError with the text."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"invalid duration {text!r}; examples are '15s', '1h30m', '250ms'")
    total = sum(_part_ns(number, unit) for number, unit in _PART.findall(text))
    return -total if text.startswith("-") else total


def _part_ns(number: str, unit: str) -> int:
    whole, _, fraction = number.partition(".")
    scale = _UNITS_NS[unit]
    return int(whole or 0) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


def format_ns(total: int) -> str:
    """A duration as Go prints it: "1h0m0s", "2.5s", "250ms", "0s"."""
    sign, total = ("-", -total) if total < 0 else ("", total)
    if total == 0:
        return "0s"
    for unit in ("ns", "µs", "ms"):
        larger = _UNITS_NS[unit] * 1_000
        if total < larger:
            return sign + _decimal(total, _UNITS_NS[unit]) + unit
    minutes, rest = divmod(total, _UNITS_NS["m"])
    hours, minutes = divmod(minutes, 60)
    text = _decimal(rest, _UNITS_NS["s"]) + "s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    return sign + (f"{hours}h{text}" if hours else text)


def _decimal(total: int, scale: int) -> str:
    whole, fraction = divmod(total, scale)
    digits = f"{fraction:0{len(str(scale)) - 1}d}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


def canonical(text: str) -> str:
    """The canonical spelling of a Go duration."""
    return format_ns(parse_ns(text))


def plain(spec: Any) -> Any:
    """A typed value as JSON values, durations canonical.  Fields that are not set are absent."""
    rewrite: Rewrite = _rewriter(cast(Hashable, type(spec)))
    return rewrite(msgspec.json.decode(msgspec.json.encode(spec)))


Rewrite = Callable[[Any], Any]


def _same(value: Any) -> Any:
    return value


@lru_cache(maxsize=256)
def _rewriter(spec_type: Hashable) -> Rewrite:
    return _rewrite_for(inspect.type_info(cast(type, spec_type))) or _same


def _rewrite_for(kind: inspect.Type) -> Rewrite | None:
    """How to rewrite values of one type; None when it holds no duration."""
    if isinstance(kind, inspect.Metadata):
        if (kind.extra or {}).get("format") == "duration":
            return _duration
        return _rewrite_for(kind.type)
    if isinstance(kind, inspect.UnionType):
        found = [rewrite for inner in kind.types if (rewrite := _rewrite_for(inner))]
        return found[0] if found else None
    if isinstance(kind, inspect.VarTupleType | inspect.ListType):
        inner = _rewrite_for(kind.item_type)
        return (lambda values: [inner(value) for value in values or ()]) if inner else None
    if isinstance(kind, inspect.StructType):
        return _struct_rewrite(kind)
    return None


def _struct_rewrite(kind: inspect.StructType) -> Rewrite | None:
    fields = {f.encode_name: rewrite for f in kind.fields if (rewrite := _rewrite_for(f.type))}
    if not fields:
        return None

    return lambda value: value and {k: fields[k](v) if k in fields else v for k, v in value.items()}


def _duration(value: Any) -> Any:
    return canonical(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value
