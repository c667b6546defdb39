"""The part of Go's template language that names are written in.

`{{ .Field }}` and `{{ label "key" }}` between literal text: enough for host names and SPIFFE IDs.
A template is parsed once and rendered often.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_FIELD = re.compile(r"\.([A-Za-z_][A-Za-z0-9_]*)")
_LABEL = re.compile(r'label\s+(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`)')
_PLAIN = re.compile(r'[A-Za-z0-9_.\s"`/:\-$(),|=]')


class TemplateError(ValueError):
    """A template that cannot be parsed, or that names what does not exist."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Literal text, the name of a field, or the key of a label."""

    text: str = ""
    field: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    parts: tuple[_Part, ...]

    def render(self, fields: Mapping[str, str], labels: Mapping[str, str]) -> str:
        """The text with fields and labels filled in.

        Raises TemplateError for a field that does not exist, and for a label that is not there.
        """
        return "".join(_rendered(part, fields, labels) for part in self.parts)


def _rendered(part: _Part, fields: Mapping[str, str], labels: Mapping[str, str]) -> str:
    if part.field:
        if part.field not in fields:
            known = ", ".join(f".{name}" for name in sorted(fields))
            raise TemplateError(f"there is no field .{part.field}; there are {known}")
        return fields[part.field]
    if part.label:
        if part.label not in labels:
            raise TemplateError(f'label "{part.label}" is not set')
        return labels[part.label]
    return part.text


def parse(text: str) -> Template:
    """Parse a template. Raises TemplateError."""
    parts: list[_Part] = []
    end = 0
    for action in _ACTION.finditer(text):
        parts.append(_Part(text=_literal(text, end, action.start())))
        parts.append(_action(action.group(1), text.count("\n", 0, action.start()) + 1))
        end = action.end()
    parts.append(_Part(text=_literal(text, end, len(text))))
    return Template(tuple(part for part in parts if part != _Part()))


def _literal(text: str, start: int, end: int) -> str:
    literal = text[start:end]
    if "{{" in literal:
        raise TemplateError(f"template: :{text.count(chr(10), 0, start) + 1}: unclosed action")
    return literal


def _action(source: str, line: int) -> _Part:
    for character in source:
        if not _PLAIN.match(character):
            raise TemplateError(f"template: :{line}: bad character U+{ord(character):04X} '{character}'")
    if not source:
        raise TemplateError(f"template: :{line}: missing value for command")
    field = _FIELD.fullmatch(source)
    if field:
        return _Part(field=field.group(1))
    label = _LABEL.fullmatch(source)
    if label:
        return _Part(label=label.group(1) or label.group(2) or "")
    word = source.split()[0]
    raise TemplateError(f'template: :{line}: function "{word}" not defined')
