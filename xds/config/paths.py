"""Paths into an Envoy resource as JSON, and how to find the same place again in another version of it.

A path is a JSON pointer (`/filterChains/0/name`) or what people write (`filterChains[0].name`; a key with
dots goes into quotes: `typedExtensionProtocolOptions["envoy.extensions…"]`). Names of fields may be spelled
as in the proto files, too: `connect_timeout` is `connectTimeout`.

In a list, the same place is the same element, not the same number: when an element before it goes, the
others keep their identity. What both lists begin and end with is left alone, and equal elements in between
are the same; the rest is paired in order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Final

Step = str | int
Path = tuple[Step, ...]

PATH_CHARS_MAX = 2_000

_PART = re.compile(r"""\.?([^.\[\]"]+)|\[(\d+)\]|\["([^"]*)"\]""")
_SNAKE = re.compile(r"_([a-z0-9])")


class _Absent:
    """What is found where there is nothing: not the same as null."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()


def parse(text: str) -> Path:
    """A path as steps: keys and positions. Raises ValueError with what is wrong."""
    if len(text) > PATH_CHARS_MAX:
        raise ValueError(f"longer than {PATH_CHARS_MAX} characters")
    if not text or text == "/":
        return ()
    if text.startswith("/"):
        parts = (part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/"))
        return tuple(_step(part) for part in parts)
    return tuple(_dotted(text))


def _dotted(text: str) -> list[Step]:
    steps: list[Step] = []
    at = 0
    while at < len(text):
        found = _PART.match(text, at)
        if found is None or (found.start() == 0 and text.startswith(".")):
            raise ValueError(f'{text[at : at + 20]!r} is neither .field, [number] nor ["key"]')
        name, number, key = found.groups()
        steps.append(_step(name) if name is not None else int(number) if number is not None else key)
        at = found.end()
    return steps


def _step(part: str) -> Step:
    return int(part) if part.isdecimal() and len(part) < 10 else part


def pointer(path: Path) -> str:
    """A path as a JSON pointer."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def normalised(path: Path, document: Any) -> Path:
    """The path with its steps as the document spells them; what the document lacks stays as it is."""
    steps: list[Step] = []
    for step in path:
        if isinstance(document, dict) and str(step) not in document:
            step = _SNAKE.sub(lambda found: found.group(1).upper(), str(step))
        elif isinstance(document, dict):
            step = str(step)
        steps.append(step)
        document = _inner(document, step)
    return tuple(steps)


def value_at(document: Any, path: Path) -> Any:
    """What is there; ABSENT if nothing is."""
    for step in path:
        document = _inner(document, step)
    return document


def _inner(document: Any, step: Step) -> Any:
    if isinstance(document, dict):
        return document.get(str(step), ABSENT)
    if isinstance(document, list) and isinstance(step, int) and step < len(document):
        return document[step]
    return ABSENT


def counterpart(before: Any, after: Any, path: Path) -> Any:
    """What `after` has at the place that is `path` in `before`; ABSENT if the place or value is gone."""
    for step in path:
        if isinstance(before, list) and isinstance(after, list) and isinstance(step, int):
            other = _same_element(before, after, step)
            after = ABSENT if other is None else after[other]
        else:
            after = _inner(after, step)
        before = _inner(before, step)
    return after


def _same_element(before: Sequence[Any], after: Sequence[Any], index: int) -> int | None:
    """Where in `after` the element `index` of `before` is."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    if index < start:
        return index
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    if index >= len(before) - end:
        return index - len(before) + len(after)
    return _paired(before[start : len(before) - end], after[start : len(after) - end], index - start, start)


def _paired(before: Sequence[Any], after: Sequence[Any], index: int, offset: int) -> int | None:
    """As `_same_element`, where the lists neither begin nor end alike."""
    matcher = SequenceMatcher(None, [repr(each) for each in before], [repr(each) for each in after], False)
    for _, i1, i2, j1, j2 in matcher.get_opcodes():
        if i1 <= index < i2:
            return offset + j1 + index - i1 if j1 + index - i1 < j2 else None
    return None
