"""Every structural fault of a document, in the words of the OpenAPI engine that Kuma uses.

msgspec stops at the first fault, which is right for the fast path and wrong for a person with a
file to repair.  So when decoding failed, the document is walked here along the same declared types
(read through `msgspec.inspect`) and each fault is noted with its path:
`spec.to[0].targetRef.kind`, "in body is required".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import inspect as mi

from mesh.errors import FieldError
from mesh.limits import ERRORS_MAX

_JSON_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (str, "string"),
    (int, "integer"),
    (float, "number"),
    (list, "array"),
    (dict, "object"),
)


def faults(declared: Any, value: Any, path: str) -> list[FieldError]:
    """All faults of the JSON value `value` against a declared type; [] when it fits."""
    found: list[FieldError] = []
    for error in _walk(_info(declared), value, path):
        found.append(error)
        if len(found) >= ERRORS_MAX:
            break
    return found


def unknown_fields(declared: Any, value: Any, path: str) -> list[str]:
    """Paths of fields that the declared type does not know, and that decoding ignores."""
    return list(_unknown(_info(declared), value, path))


@lru_cache(maxsize=1024)
def _info(declared: Any) -> mi.Type:
    return mi.type_info(declared)


@lru_cache(maxsize=4096)
def _fields(struct: Any) -> tuple[mi.Field, ...]:
    return tuple(_info(struct).fields)  # type: ignore[attr-defined]


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def json_type(value: Any) -> str:
    """The JSON schema type of a value, as the engine names what it was given."""
    if value is None:
        return "null"
    for python, name in _JSON_TYPES:
        if isinstance(value, python):
            return "number" if name == "integer" else name
    return type(value).__name__


def _wrong_type(path: str, wanted: str, value: Any) -> Iterator[FieldError]:
    yield FieldError(path, f'in body must be of type {wanted}: "{json_type(value)}"')


def _walk(info: mi.Type, value: Any, path: str) -> Iterator[FieldError]:
    while isinstance(info, mi.Metadata):
        if (info.extra or {}).get("format") == "duration" and isinstance(value, str):
            yield from _duration(info.type, value, path)
            return
        info = info.type
    if value is None and _nullable(info):
        return
    walker = _WALKERS.get(type(info))
    if walker is not None:
        yield from walker(info, value, path)


def _nullable(info: mi.Type) -> bool:
    if isinstance(info, mi.UnionType):
        return any(isinstance(t, mi.NoneType) for t in info.types)
    return isinstance(info, mi.NoneType | mi.AnyType)


def _duration(info: mi.Type, value: str, path: str) -> Iterator[FieldError]:
    if isinstance(info, mi.StrType) and info.pattern and not re.search(info.pattern, value):
        yield FieldError(path, f'in body must be a duration such as "15s" or "1h30m": "{value[:64]}"')


def _struct(info: Any, value: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield from _wrong_type(path, "object", value)
        return
    for field in _fields(info.cls):
        here = join(path, field.encode_name)
        if field.encode_name in value:
            yield from _walk(field.type, value[field.encode_name], here)
        elif field.required:
            yield FieldError(here, "in body is required")


def _sequence(info: Any, value: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(value, list):
        yield from _wrong_type(path, "array", value)
        return
    if info.min_length is not None and len(value) < info.min_length:
        yield FieldError(path, f"in body should have at least {info.min_length} items")
    if info.max_length is not None and len(value) > info.max_length:
        yield FieldError(path, f"in body should have at most {info.max_length} items")
    for position, item in enumerate(value):
        yield from _walk(info.item_type, item, f"{path}[{position}]")


def _mapping(info: Any, value: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(value, dict):
        yield from _wrong_type(path, "object", value)
        return
    for key, item in value.items():
        yield from _walk(info.value_type, item, join(path, key))


def _string(info: Any, value: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(value, str):
        yield from _wrong_type(path, "string", value)
        return
    if info.min_length is not None and len(value) < info.min_length:
        yield FieldError(path, f"in body should be at least {info.min_length} chars long")
    if info.max_length is not None and len(value) > info.max_length:
        yield FieldError(path, f"in body should be at most {info.max_length} chars long")
    if info.pattern is not None and not re.search(info.pattern, value):
        yield FieldError(path, f"in body should match '{info.pattern}'")


def _number(info: Any, value: Any, path: str) -> Iterator[FieldError]:
    whole = isinstance(info, mi.IntType)
    fits = isinstance(value, int) or (isinstance(value, float) and (not whole or value.is_integer()))
    if isinstance(value, bool) or not fits:
        yield from _wrong_type(path, "integer" if whole else "number", value)
        return
    if info.ge is not None and value < info.ge:
        yield FieldError(path, f"in body should be greater than or equal to {info.ge}")
    if info.le is not None and value > info.le:
        yield FieldError(path, f"in body should be less than or equal to {info.le}")
    if info.gt is not None and value <= info.gt:
        yield FieldError(path, f"in body should be greater than {info.gt}")
    if info.lt is not None and value >= info.lt:
        yield FieldError(path, f"in body should be less than {info.lt}")


def _boolean(info: Any, value: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(value, bool):
        yield from _wrong_type(path, "boolean", value)


def _literal(info: Any, value: Any, path: str) -> Iterator[FieldError]:
    wanted = type(info.values[0])
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        yield from _wrong_type(path, "string" if wanted is str else "integer", value)
    elif value not in info.values:
        # msgspec sorts the values; so is the message, for the same text on every machine.
        yield FieldError(path, f"in body should be one of [{' '.join(str(v) for v in info.values)}]")


def _union(info: Any, value: Any, path: str) -> Iterator[FieldError]:
    options = [option for option in info.types if not isinstance(option, mi.NoneType)]
    attempts = [list(_walk(option, value, path)) for option in options]
    if any(not attempt for attempt in attempts):
        return
    if len(options) == 1:
        yield from attempts[0]
        return
    matching = [a for a in attempts if not any(e.field == path and "must be of type" in e.reason for e in a)]
    if matching:
        yield from matching[0]
    else:
        wanted = " or ".join(sorted({_name(option) for option in options}))
        yield from _wrong_type(path, wanted, value)


_NAMES: tuple[tuple[type[mi.Type], str], ...] = (
    (mi.StrType, "string"),
    (mi.IntType, "integer"),
    (mi.FloatType, "number"),
    (mi.BoolType, "boolean"),
    (mi.StructType, "object"),
    (mi.DictType, "object"),
    (mi.VarTupleType, "array"),
    (mi.ListType, "array"),
)


def _name(info: mi.Type) -> str:
    while isinstance(info, mi.Metadata):
        info = info.type
    return next((name for kind, name in _NAMES if isinstance(info, kind)), "string")


_WALKERS: dict[type[mi.Type], Callable[[Any, Any, str], Iterator[FieldError]]] = {
    mi.StructType: _struct,
    mi.VarTupleType: _sequence,
    mi.ListType: _sequence,
    mi.DictType: _mapping,
    mi.StrType: _string,
    mi.IntType: _number,
    mi.FloatType: _number,
    mi.BoolType: _boolean,
    mi.LiteralType: _literal,
    mi.UnionType: _union,
}


def _unknown(info: mi.Type, value: Any, path: str) -> Iterator[str]:
    while isinstance(info, mi.Metadata):
        info = info.type
    if isinstance(info, mi.UnionType):
        info = next((t for t in info.types if not isinstance(t, mi.NoneType)), info)
    if isinstance(info, mi.StructType) and isinstance(value, dict):
        known = {field.encode_name: field for field in _fields(info.cls)}
        for name, item in value.items():
            if name in known:
                yield from _unknown(known[name].type, item, join(path, name))
            else:
                yield join(path, name)
    elif isinstance(info, mi.VarTupleType) and isinstance(value, list):
        for position, item in enumerate(value):
            yield from _unknown(info.item_type, item, f"{path}[{position}]")


_AT = re.compile(r" - at `\$\.?(.*)`$")


def from_msgspec(error: msgspec.ValidationError, root: str) -> FieldError:
    """msgspec's own report of one fault, for what the walk cannot explain."""
    text = str(error)
    match = _AT.search(text)
    field = join(root, match.group(1)) if match and match.group(1) else root
    return FieldError(field, _AT.sub("", text))
