"""What differs between two documents, field by field, as `path: old -> new`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

# Written by the control plane at each write: they say when, which is told beside the difference.
_BOOKKEEPING = frozenset({"creationTime", "modificationTime", "kri"})
_ABSENT: Any = object()


def field_diff(before: Any, after: Any) -> list[str]:
    """One line per field: `+ path: new`, `- path: old`, `~ path: old -> new`; [] when they are equal.

    None stands for a resource that is not there.
    """
    return list(_diff("", _fields(before), _fields(after)))


def _fields(document: Any) -> Any:
    return {key: value for key, value in (document or {}).items() if key not in _BOOKKEEPING}


def _diff(path: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _diff(
                f"{path}.{key}" if path else key, before.get(key, _ABSENT), after.get(key, _ABSENT)
            )
    elif isinstance(before, list) and isinstance(after, list):
        for n in range(max(len(before), len(after))):
            old = before[n] if n < len(before) else _ABSENT
            yield from _diff(f"{path}[{n}]", old, after[n] if n < len(after) else _ABSENT)
    elif before is _ABSENT:
        yield f"+ {path}: {_text(after)}"
    elif after is _ABSENT:
        yield f"- {path}: {_text(before)}"
    else:
        yield f"~ {path}: {_text(before)} -> {_text(after)}"


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
