"""Documents with one thing wrong, and what is said about it."""

from __future__ import annotations

import copy
from typing import Any

from mesh.codec import decode
from mesh.errors import FieldError
from mesh.validate import validate
from mesh.view import View

GONE = object()
Edit = tuple[str, Any]


def edited(document: dict[str, Any], *edits: Edit) -> dict[str, Any]:
    """A copy with values put at (or GONE from) paths such as `networking.inbound.0.port`."""
    result = copy.deepcopy(document)
    for path, value in edits:
        *steps, last = [int(s) if s.isdigit() else s for s in path.split(".")]
        at: Any = result
        for step in steps:
            at = at[step] if isinstance(step, int) else at.setdefault(step, {})
        if value is GONE:
            del at[last]
        elif isinstance(last, int) and last == len(at):
            at.append(value)
        else:
            at[last] = value
    return result


def faults(document: dict[str, Any], *stored: dict[str, Any]) -> list[FieldError]:
    """What validation says of a document, beside what is stored (nothing: the document alone)."""
    reader = View.of([decode(d) for d in stored]) if stored else None
    return validate(decode(document), reader)


def only(field: str, reason: str) -> list[FieldError]:
    return [FieldError(field, reason)]
