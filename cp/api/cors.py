"""Pages of other sites that may use the API (`apiServer.corsAllowedDomains`): none by default.

An entry is an origin such as `https://mesh.example.com`, or a regular expression that the
whole origin must match, as in Kuma. A browser asks first; the answer names the origin and
nothing wider, and never allows credentials that a page did not set itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiohttp import web

_METHODS = "GET, PUT, POST, DELETE"
_HEADERS = "Authorization, Content-Type, If-Match, If-None-Match, X-Raftmesh-Min-Index, X-Raftmesh-Request-Id"
_EXPOSED = "ETag, X-Raftmesh-Index, X-Raftmesh-Leader"
_MAX_AGE_S = 600


class Cors:
    """Decides by the request's origin."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._patterns = [re.compile(each) for each in allowed]

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser's question whether it may send something; None if it is no such."""
        wanted = request.headers.get("Access-Control-Request-Method")
        if request.method != "OPTIONS" or wanted is None or not self._allows(request):
            return None
        answer = web.Response(status=204)
        answer.headers["Access-Control-Allow-Methods"] = _METHODS
        answer.headers["Access-Control-Allow-Headers"] = _HEADERS
        answer.headers["Access-Control-Max-Age"] = str(_MAX_AGE_S)
        return answer

    def mark(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let a page of an allowed origin read the answer."""
        if self._patterns and "Origin" in request.headers:
            response.headers["Vary"] = "Origin"
            if self._allows(request):
                response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
                response.headers["Access-Control-Expose-Headers"] = _EXPOSED

    def _allows(self, request: web.Request) -> bool:
        origin = request.headers.get("Origin")
        return origin is not None and any(pattern.fullmatch(origin) for pattern in self._patterns)
