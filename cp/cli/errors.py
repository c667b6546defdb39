"""What ends a command with exit status 1: printed as `Error: …`, as kumactl does."""

from __future__ import annotations

from typing import Any


class CommandError(Exception):
    """A failure that the user can read and act upon. status: of the API's answer, 0 for none."""

    status = 0


class Unreachable(CommandError):
    """No address of the control plane answers."""


def from_problem(status: int, body: Any) -> CommandError:
    """The API's error body as text: title, detail, and one line for each bad field."""
    error = CommandError(_text(status, body))
    error.status = status
    return error


def _text(status: int, body: Any) -> str:
    if not isinstance(body, dict) or "title" not in body:
        return f"the control plane answered with status {status}: {str(body)[:500]}"
    text = str(body["title"])
    if body.get("detail"):
        text += f" ({body['detail']})"
    if isinstance(where := body.get("operation"), dict):
        text += f': resource[{where.get("position")}], {where.get("type")} "{where.get("name")}"'
    for parameter in body.get("invalid_parameters") or []:
        text += f"\n* {parameter.get('field', '')}: {parameter.get('reason', '')}"
    return text
