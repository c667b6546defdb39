"""From any failure to an answer: the one place that decides status and words.

Whatever a handler raises ends here; a client never sees a traceback, and what nobody
foresaw is logged under an id that the client is given.
"""

from __future__ import annotations

import logging
import math
import secrets
from collections.abc import Mapping

from aiohttp import web

from cp.api.answers import error_answer
from cp.problems import Problem, bad_request
from mesh.errors import BadRequest
from raftstore.errors import Compacted, Overloaded, StoreError, TooLarge, Unavailable, UnknownOutcome

log = logging.getLogger(__name__)

LEADER_HEADER = "X-Raftmesh-Leader"
REQUEST_ID_HEADER = "X-Raftmesh-Request-Id"
REQUEST_ID = web.RequestKey("request_id", str)  # of a write: the client's, or one made for it


def to_response(error: Exception, request: web.Request) -> web.Response:
    """The answer to a request that ended in `error`."""
    found = to_problem(error, request)
    return error_answer(found.body(), found.status, found.headers)


def to_problem(error: Exception, request: web.Request) -> Problem:
    """What to tell the client about `error`."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, StoreError):
        return _of_store(error, "" if request.method in ("GET", "HEAD") else "nothing was written: ")
    if isinstance(error, BadRequest):
        return bad_request(error.detail)
    if isinstance(error, web.HTTPException):
        return _of_http(error, request)
    if isinstance(error, TimeoutError):
        return Problem(408, "Request Timeout", "the request's body did not arrive in time")
    incident = secrets.token_hex(6)
    log.exception("incident %s: %s %s", incident, request.method, request.path, exc_info=error)
    return Problem(
        500,
        "Internal Server Error",
        f"an error that was not foreseen; the control plane's log tells more under {incident}",
        extra={"instance": incident},
    )


def _of_store(error: StoreError, outcome: str) -> Problem:
    detail = str(error)
    match error:
        case Unavailable():
            headers = {"Retry-After": "1"}
            if error.leader:
                detail += f"; the leader is {error.leader}"
                headers[LEADER_HEADER] = error.leader
            return Problem(
                503,
                "Service unavailable",
                f"{outcome}{detail}",
                headers=headers,
                extra={"leader": error.leader},
            )
        case UnknownOutcome():
            remedy = f"it is safe to send it again with the same {REQUEST_ID_HEADER}"
            return Problem(504, "Unknown outcome", f"{detail}; {remedy}", headers={"Retry-After": "1"})
        case Overloaded():
            wait = str(math.ceil(error.retry_after_s))
            return Problem(429, "Too many requests", f"{outcome}{detail}", headers={"Retry-After": wait})
        case TooLarge():
            return Problem(413, "Request Entity Too Large", detail)
        case Compacted():
            return Problem(410, "Compacted", detail, extra={"firstIndex": error.first_index})
    return Problem(error.status, "Conflict" if error.status == 409 else "Service unavailable", detail)


def not_this_way(error: Exception, request: web.Request, methods: Mapping[str, list[str]]) -> Exception:
    """`error`, or 405 if the path is served, but not by the request's method.

    `/tokens/user` looks like a resource, too; without this, GET would say that there is no such path.
    methods: those of each path without a variable part.
    """
    allowed = methods.get(request.path.rstrip("/"), [])
    if isinstance(error, Problem) and error.status == 404 and allowed and request.method not in allowed:
        return web.HTTPMethodNotAllowed(request.method, allowed)
    return error


def _of_http(error: web.HTTPException, request: web.Request) -> Problem:
    if error.status == 404:
        return Problem(404, "Not Found", f"there is no such path: {request.path}")
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return Problem(
            405,
            "Method not Allowed",
            f"{request.method} is not possible here; allowed: {allowed}",
            headers={"Allow": allowed},
        )
    return Problem(error.status, error.reason, error.text or error.reason)
