"""What differs between two configurations, as RFC 6902 operations that add, remove, and test if need be.

A changed value is its removal and an addition, so that the operations can be undone. Elements of lists are
aligned by the longest common subsequence; between two aligned elements the rest is compared in pairs, and
what one side has more is removed, or added in reverse at one index, so that applying the operations in
order gives the target.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

Operation = dict[str, Any]


# Elements of two lists that are compared with each other; beyond that only from both ends.
ALIGNED_MAX = 250_000


def diff(before: Any, after: Any, *, tested: bool = False) -> list[Operation]:
    """The operations that turn `before` into `after`, by path, removals first.

    tested: tell before each removal what has to be there, as Kuma does.
    """
    found = sorted(operations(before, after), key=lambda found: (found["path"], found["op"] == "add"))
    return found if not tested else [each for operation in found for each in _with_test(operation)]


def _with_test(operation: Operation) -> Iterator[Operation]:
    if operation["op"] == "remove":
        yield operation | {"op": "test"}
    yield operation


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
    """Indexes of a longest common subsequence, in order; of equal beginnings and ends in long lists."""
    if len(before) * len(after) > ALIGNED_MAX:
        return _equal_ends(before, after)
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


def _equal_ends(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[int, int]]:
    common, start, end = min(len(before), len(after)), 0, 0
    while start < common and before[start] == after[start]:
        start += 1
    while end < common - start and before[-1 - end] == after[-1 - end]:
        end += 1
    tail = [(len(before) - n, len(after) - n) for n in range(end, 0, -1)]
    return [(n, n) for n in range(start)] + tail
