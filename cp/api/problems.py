"""What a client is told when something cannot be done: Kuma's error body.

`{"type": "/std-errors", "status", "title", "detail", "invalid_parameters": [...]}`, with
the older duplicates `details` and `causes` that kumactl of former versions reads. The title
names the step that failed, the detail the reason, and each invalid parameter its field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson
from aiohttp import web


class Invalid(NamedTuple):
    """One violation: the field by path, and what is wrong with it."""

    field: str
    reason: str


class Problem(Exception):
    """An answer that is not the one asked for. `extra` adds fields of ours to Kuma's."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        invalid: Sequence[Invalid] = (),
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
        body: dict[str, Any] = {
            "type": "/std-errors",
            "status": self.status,
            "title": self.title,
            "detail": self.detail,
        }
        if self.invalid:
            body["invalid_parameters"] = [{"field": i.field, "reason": i.reason} for i in self.invalid]
        body["details"] = self.detail
        if self.invalid:
            body["causes"] = [{"field": i.field, "message": i.reason} for i in self.invalid]
        return body | self.extra

    def response(self) -> web.Response:
        return web.Response(
            status=self.status,
            body=orjson.dumps(self.body()),
            content_type="application/json",
            headers=self.headers,
        )


def not_found(title: str) -> Problem:
    return Problem(404, title, "Not found")


def bad_request(detail: str, title: str = "Bad Request") -> Problem:
    return Problem(400, title, detail)


def not_valid(title: str, invalid: Sequence[Invalid]) -> Problem:
    return Problem(400, title, "Resource is not valid", invalid)


def bad_parameter(name: str, reason: str) -> Problem:
    """A query parameter or header that does not mean anything."""
    return Problem(400, "Bad Request", f"invalid {name}", [Invalid(name, reason)])
