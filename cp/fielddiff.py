"""What differs between two documents, field by field: `~ spec.to[0].default.x: 1 -> 2`.

Lists are compared by position: a person who reads a policy counts its rules. What secrets hold is
compared, but never shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import orjson

# When it was written, and which resource it is, are told beside the difference.
_BOOKKEEPING = frozenset({"creationTime", "modificationTime", "kri", "type", "mesh", "name"})
_SECRETS = frozenset({"Secret", "GlobalSecret"})
_HIDDEN = "(hidden)"
_ABSENT: Any = object()

FieldOp = Literal["add", "remove", "replace"]
_SIGNS: Mapping[FieldOp, str] = {"add": "+", "remove": "-", "replace": "~"}


class FieldChange(NamedTuple):
    """One field that differs. `before` means nothing for an addition, `after` for a removal."""

    op: FieldOp
    path: str
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        """`+ path: new`, `- path: old`, `~ path: old -> new`."""
        shown = {"add": _text(self.after), "remove": _text(self.before)}
        text = shown.get(self.op, f"{_text(self.before)} -> {_text(self.after)}")
        return f"{_SIGNS[self.op]} {self.path}: {text}"

    def document(self) -> dict[str, Any]:
        """As the API tells it."""
        body: dict[str, Any] = {"op": self.op, "path": self.path}
        if self.op != "add":
            body["before"] = self.before
        if self.op != "remove":
            body["after"] = self.after
        return body


def of_document(document: Mapping[str, Any]) -> FieldChange:
    """The inverse of FieldChange.document."""
    return FieldChange(document["op"], document["path"], document.get("before"), document.get("after"))


def field_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[FieldChange]:
    """Every field that differs, in the order of the documents; [] when they are equal.

    None stands for a resource that is not there.
    """
    found = _diff("", _fields(before), _fields(after))
    if (after or before or {}).get("type") in _SECRETS:
        return [_hidden(change) for change in found]
    return list(found)


def without_secrets(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """A resource as an audit log may keep it: that there is a secret, but not what it holds."""
    if document is None or document.get("type") not in _SECRETS or "data" not in document:
        return document
    return document | {"data": _HIDDEN}


def _hidden(change: FieldChange) -> FieldChange:
    return change._replace(before=_HIDDEN, after=_HIDDEN) if change.path == "data" else change


def _fields(document: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (document or {}).items() if key not in _BOOKKEEPING}


def _diff(path: str, before: Any, after: Any) -> Iterator[FieldChange]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            inner = f"{path}.{key}" if path else key
            yield from _diff(inner, before.get(key, _ABSENT), after.get(key, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list):
        for n in range(max(len(before), len(after))):
            old = before[n] if n < len(before) else _ABSENT
            yield from _diff(f"{path}[{n}]", old, after[n] if n < len(after) else _ABSENT)
    elif before is _ABSENT:
        yield FieldChange("add", path, after=after)
    elif after is _ABSENT:
        yield FieldChange("remove", path, before=before)
    else:
        yield FieldChange("replace", path, before, after)


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()
