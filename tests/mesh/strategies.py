"""Documents for property tests, made from the declarations of the kinds themselves."""

from __future__ import annotations

import string
from functools import cache
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect as mi

from mesh.kinds.base import Kind, Model
from mesh.registry import KINDS

NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=8)
DURATIONS = st.sampled_from(["0s", "15s", "1h30m", "250ms", "0.5s", "10m"])
TEXTS = st.text(string.ascii_letters + string.digits + "-._/:* ", max_size=12)
SCALARS = st.none() | st.booleans() | st.integers(-5, 70000) | st.floats(-5, 5) | TEXTS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(list(KINDS.values()))


@cache
def values(declared: type[Model]) -> st.SearchStrategy[Any]:
    """JSON values that a struct accepts."""
    return _of(mi.type_info(declared))


def _of(info: mi.Type) -> st.SearchStrategy[Any]:
    if isinstance(info, mi.Metadata):
        return DURATIONS if (info.extra or {}).get("format") == "duration" else _of(info.type)
    if isinstance(info, mi.UnionType):
        return st.one_of(*(_of(option) for option in info.types if not isinstance(option, mi.NoneType)))
    if isinstance(info, mi.StructType):
        return st.deferred(lambda: _object(info))
    if isinstance(info, mi.VarTupleType):
        low = info.min_length or 0
        return st.lists(_of(info.item_type), min_size=low, max_size=max(low, min(info.max_length or 2, 2)))
    if isinstance(info, mi.DictType):
        return st.dictionaries(NAMES, _of(info.value_type), max_size=2)
    if isinstance(info, mi.LiteralType):
        return st.sampled_from(info.values)
    return _scalar(info)


def _object(info: mi.StructType) -> st.SearchStrategy[dict[str, Any]]:
    required = {f.encode_name: _of(f.type) for f in info.fields if f.required}
    optional = {f.encode_name: _of(f.type) for f in info.fields if not f.required}
    return st.fixed_dictionaries(required, optional=optional)


def _scalar(info: mi.Type) -> st.SearchStrategy[Any]:
    if isinstance(info, mi.StrType):
        if info.pattern:
            return st.from_regex(
                info.pattern, fullmatch=True, alphabet=string.ascii_letters + string.digits + "-."
            )
        return st.text(string.printable, min_size=info.min_length or 0, max_size=12)
    if isinstance(info, mi.IntType):
        low = info.ge if info.ge is not None else -(2**31)
        return st.integers(low, info.le if info.le is not None else 2**31 - 1)
    if isinstance(info, mi.FloatType):
        return st.floats(-1000, 1000)
    return st.booleans() if isinstance(info, mi.BoolType) else JSON


@cache
def documents_of(kind: Kind) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of a kind that decode."""
    head = {"type": st.just(kind.name), "name": NAMES}
    labels = st.dictionaries(NAMES, NAMES, min_size=1, max_size=2)
    optional: dict[str, st.SearchStrategy[Any]] = {"labels": labels}
    if kind.scope == "mesh":
        head["mesh"] = NAMES
    if not kind.wrapped:
        flat = values(kind.spec_type)
        return st.builds(
            lambda top, spec: {**spec, **top}, st.fixed_dictionaries(head, optional=optional), flat
        )
    head["spec"] = values(kind.spec_type)
    if kind.status_type is not None:
        optional["status"] = values(kind.status_type)
    return st.fixed_dictionaries(head, optional=optional)


documents = kinds.flatmap(documents_of)
