"""What can be wrong with a resource, and how the API says it.

All faults of a document are collected and reported at once, each with the path of its field.
The JSON shape is Kuma's: RFC 7807 members, `invalid_parameters`, and the older spelling of the
same facts (`details`, `causes`) that scripts written for older versions read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

INVALID_DETAIL = "Resource is not valid"


class FieldError(NamedTuple):
    """One fault. `field` is a path such as `spec.to[0].targetRef.kind` or `labels["a/b"]`."""

    field: str
    reason: str


class Invalid(Exception):
    """A resource has one or more faults."""

    def __init__(self, errors: Iterable[FieldError]) -> None:
        self.errors: tuple[FieldError, ...] = tuple(errors)
        super().__init__("; ".join(f"{e.field}: {e.reason}" if e.field else e.reason for e in self.errors))


class BadRequest(Exception):
    """A request that is refused as a whole: status 400, title "Bad Request", `detail` as text."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Undecodable(BadRequest):
    """A document that is no resource at all: no mapping, no or unknown `type`."""


def problem(
    status: int,
    title: str,
    detail: str,
    errors: Sequence[FieldError] = (),
    *,
    instance: str | None = None,
) -> dict[str, Any]:
    """The JSON body of an error answer.

    status: HTTP status; title: the step that failed, e.g. "Could not process a resource";
    detail: one sentence; instance: trace id, when there is one.
    """
    body: dict[str, Any] = {"type": "/std-errors", "status": status, "title": title, "detail": detail}
    if instance:
        body["instance"] = instance
    if errors:
        body["invalid_parameters"] = [{"field": e.field, "reason": e.reason} for e in errors]
    body["details"] = detail
    if errors:
        body["causes"] = [{"field": e.field, "message": e.reason} for e in errors]
    return body


def invalid_problem(title: str, errors: Sequence[FieldError]) -> dict[str, Any]:
    """The 400 answer for a resource that is not valid."""
    return problem(400, title, INVALID_DETAIL, errors)
