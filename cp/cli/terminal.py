"""What only a person sees: colours and progress. A pipe gets plain lines, and nothing that moves.

https://no-color.org: NO_COLOR switches colours off wherever it is set to something.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

_COLOURS: dict[str, str] = {"+": "32", "-": "31", "~": "33"}
_VERBS: dict[str, str] = {"create": "32", "add": "32", "delete": "31", "remove": "31", "update": "33"}
_WIDTH = 100


def is_for_a_person(stream: TextIO) -> bool:
    """Whether somebody looks at it."""
    return stream.isatty()


def has_colour(stream: TextIO) -> bool:
    return is_for_a_person(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(line: str, stream: TextIO | None = None) -> str:
    """A line of a plan or a diff, by its first word, where colours are seen."""
    words = line.split(maxsplit=1)
    code = (_COLOURS | _VERBS).get(words[0], "") if words else ""
    return f"\033[{code}m{line}\033[0m" if code and has_colour(stream or sys.stdout) else line


class Progress:
    """One line on standard error that is written over; nothing at all where nobody looks."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = is_for_a_person(self._stream)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._stream.write("\r\033[K")
            self._stream.flush()

    def tell(self, text: str) -> None:
        """What is being done now."""
        if self._shown:
            self._stream.write(f"\r\033[K{text[:_WIDTH]}")
            self._stream.flush()
