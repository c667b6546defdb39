"""What differs between two documents, as lines for a person."""

from __future__ import annotations

from typing import Any

from cp.fielddiff import field_changes


def field_diff(before: Any, after: Any) -> list[str]:
    """One line per field: `+ path: new`, `- path: old`, `~ path: old -> new`; [] when they are equal."""
    return [str(change) for change in field_changes(before, after)]
