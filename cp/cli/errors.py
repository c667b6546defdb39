"""What ends a command with exit status 1: printed as `Error: …`, as kumactl does."""

from __future__ import annotations

from typing import Any


class CommandError(Exception):
    """A failure that the user can read and act upon."""


def from_problem(status: int, body: Any) -> CommandError:
    """The API's error body as text: title, detail, and one line for each bad field."""
    if not isinstance(body, dict) or "title" not in body:
        return CommandError(f"the control plane answered with status {status}: {str(body)[:500]}")
    text = str(body["title"])
    if body.get("detail"):
        text += f" ({body['detail']})"
    for parameter in body.get("invalid_parameters") or []:
        text += f"\n* {parameter.get('field', '')}: {parameter.get('reason', '')}"
    return CommandError(text)
