"""What a client is told when something cannot be done: a status and Kuma's error body.

The title names the step that failed, the detail the reason, and each invalid parameter its
field (`mesh.errors.problem`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mesh.errors import INVALID_DETAIL, FieldError, problem


class Problem(Exception):
    """An answer that is not the one asked for. `extra` adds fields of ours to Kuma's."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        invalid: Sequence[FieldError] = (),
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail
        self.invalid = tuple(invalid)
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        """The JSON object of the answer."""
        return problem(self.status, self.title, self.detail, self.invalid) | self.extra


def not_found(title: str) -> Problem:
    return Problem(404, title, "Not found")


def bad_request(detail: str, title: str = "Bad Request") -> Problem:
    return Problem(400, title, detail)


def not_valid(title: str, invalid: Sequence[FieldError]) -> Problem:
    return Problem(400, title, INVALID_DETAIL, invalid)


def bad_parameter(name: str, reason: str) -> Problem:
    """A query parameter or header that does not mean anything."""
    return Problem(400, "Bad Request", f"invalid {name}", [FieldError(name, reason)])
