"""JSON Patch (RFC 6902) between two documents, in the form in which Kuma shows a difference.

Every change can be undone from the patch alone: what goes is tested and told with its value, and a value that
is replaced is removed and added.  In lists, equal beginnings and ends are left alone; in between, elements are
compared one by one, and what is left over is added or removed at the place after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Operation = dict[str, Any]


def diff(before: Any, after: Any, path: str = "") -> Iterator[Operation]:
    """The operations that turn `before` into `after`, both JSON values."""
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _objects(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _lists(before, after, path)
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield from _remove(path, before)
        yield _add(path, after)


def _objects(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Operation]:
    for key in sorted(before.keys() | after.keys()):
        at = f"{path}/{_escaped(key)}"
        if key not in after:
            yield from _remove(at, before[key])
        elif key not in before:
            yield _add(at, after[key])
        else:
            yield from diff(before[key], after[key], at)


def _lists(before: list[Any], after: list[Any], path: str) -> Iterator[Operation]:
    start, common = 0, min(len(before), len(after))
    while start < common and before[start] == after[start]:
        start += 1
    end = 0
    while end < common - start and before[-1 - end] == after[-1 - end]:
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    both = min(len(old), len(new))
    for number in range(both):
        yield from diff(old[number], new[number], f"{path}/{start + number}")
    rest = f"{path}/{start + both}"
    for value in old[both:]:
        yield from _remove(rest, value)
    for value in reversed(new[both:]):
        yield _add(rest, value)


def _remove(path: str, value: Any) -> Iterator[Operation]:
    yield {"op": "test", "path": path, "value": value}
    yield {"op": "remove", "path": path, "value": value}


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}


def _escaped(key: str) -> str:
    """A key as a part of a JSON Pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
