"""What differs between two configurations, as RFC 6902 operations that only add and remove.

A changed value is its removal and an addition. Elements of lists are aligned by the longest common
subsequence; between two aligned elements the rest is compared in pairs, and what one side has more is
removed, or added in reverse at one index, so that applying the operations in order gives the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Operation = dict[str, Any]


def diff(before: Any, after: Any) -> list[Operation]:
    """The operations that turn `before` into `after`, by path, removals first."""
    return sorted(operations(before, after), key=lambda found: (found["path"], found["op"] == "add"))


def operations(before: Any, after: Any) -> list[Operation]:
    """The same operations in the order in which they apply."""
    return list(_compare(before, after, ""))


def _compare(before: Any, after: Any, path: str) -> Iterator[Operation]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _compare_objects(before, after, path)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _compare_lists(before, after, path)
    elif before != after or type(before) is not type(after):
        yield {"op": "remove", "path": path, "value": before}
        yield {"op": "add", "path": path, "value": after}


def _compare_objects(before: dict[str, Any], after: dict[str, Any], path: str) -> Iterator[Operation]:
    for key in sorted({*before, *after}):
        inner = f"{path}/{escaped(key)}"
        if key not in after:
            yield {"op": "remove", "path": inner, "value": before[key]}
        elif key not in before:
            yield {"op": "add", "path": inner, "value": after[key]}
        else:
            yield from _compare(before[key], after[key], inner)


def escaped(key: str) -> str:
    """A key as part of a JSON pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def _compare_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Operation]:
    i = j = 0
    for at, to in [*_aligned(before, after), (len(before), len(after))]:
        pairs = min(at - i, to - j)
        for k in range(pairs):
            yield from _compare(before[i + k], after[j + k], f"{path}/{j + k}")
        for gone in before[i + pairs : at]:
            yield {"op": "remove", "path": f"{path}/{j + pairs}", "value": gone}
        for come in reversed(after[j + pairs : to]):
            yield {"op": "add", "path": f"{path}/{j + pairs}", "value": come}
        i, j = at + 1, to + 1


def _aligned(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[int, int]]:
    """Indexes of a longest common subsequence, in order."""
    width = len(after) + 1
    lengths = [[0] * width for _ in range(len(before) + 1)]
    for i in range(len(before) - 1, -1, -1):
        for j in range(len(after) - 1, -1, -1):
            if before[i] == after[j]:
                lengths[i][j] = lengths[i + 1][j + 1] + 1
            else:
                lengths[i][j] = max(lengths[i + 1][j], lengths[i][j + 1])
    found = []
    i = j = 0
    while i < len(before) and j < len(after):
        if before[i] == after[j]:
            found.append((i, j))
            i, j = i + 1, j + 1
        elif lengths[i + 1][j] >= lengths[i][j + 1]:
            i += 1
        else:
            j += 1
    return found
