"""The application: one middleware around all handlers, and the routes of each subject.

A subject is a module with `routes(context)`. The middleware is the only place that knows
of time, metrics, the index header and failures; handlers return values or raise.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from cp.api import (
    cluster,
    crud,
    envoyadmin,
    explain,
    gui,
    insights,
    inspect,
    lists,
    meta,
    openapi,
    overviews,
    past,
    proxyconfig,
    streams,
    tokens,
    transactions,
)
from cp.api.auth import user_of
from cp.api.consistency import INDEX, INDEX_HEADER
from cp.api.context import CONTEXT, Context
from cp.api.cors import Cors
from cp.api.failures import REQUEST_ID, REQUEST_ID_HEADER, not_this_way, to_response
from cp.slowclients import connection_of

log = logging.getLogger(__name__)
access_log = logging.getLogger("cp.access")

# Each adds its routes; a path that two could answer belongs to the first.
SUBJECTS = (
    meta.routes,
    openapi.routes,
    gui.routes,
    cluster.routes,
    streams.routes,
    past.routes,
    transactions.routes,
    tokens.routes,
    inspect.routes,
    proxyconfig.routes,
    explain.routes,
    envoyadmin.routes,
    overviews.routes,
    insights.routes,
    lists.routes,
    crud.routes,
)

# Answered whoever asks and with whatever token, without a slash at the end. `join` proves itself by a token of its own.
OPEN = ("", "/healthy", "/ready", "/metrics", "/openapi.json", "/docs", "/gui", "/cluster/join")


def create_app(context: Context) -> web.Application:
    """The API over one worker's view and log."""
    cors = Cors(context.config.api_server.cors_allowed_domains)
    prefix = context.config.api_server.base_path.rstrip("/")
    served = [route for routes in SUBJECTS for route in routes(context)]
    app = web.Application(
        middlewares=[_around(context, cors, _methods(prefix, served))], handler_args={"max_line_size": 16_384}
    )
    app[CONTEXT] = context

    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "raftmesh"
        cors.mark(request, response)

    app.on_response_prepare.append(prepare)
    # The router tries one after the other. Paths of different lengths never match the same, so this changes
    # no answer; it lets a read of a resource pass by the longer paths of inspection.
    served.sort(key=lambda route: route.path.count("/"))
    app[openapi.ROUTES] = served
    app.add_routes(_under(prefix, route) for route in served)
    # As in Kuma, a slash at the end means nothing. Last, so that no other request has to pass by these.
    app.add_routes(_under(prefix, route, "/") for route in served if not route.path.endswith("/"))
    return app


def _under(prefix: str, route: web.RouteDef, suffix: str = "") -> web.RouteDef:
    return web.RouteDef(route.method, prefix + route.path + suffix, route.handler, route.kwargs)


def _methods(prefix: str, served: Sequence[web.RouteDef]) -> dict[str, list[str]]:
    """What each path without a variable part is served by."""
    found: dict[str, list[str]] = {}
    for route in served:
        found.setdefault(prefix + route.path, []).append(route.method)
    return {path: sorted(methods) for path, methods in found.items() if "{" not in path}


def _around(context: Context, cors: Cors, methods: Mapping[str, list[str]]) -> Middleware:
    metrics, log_access = context.metrics, context.config.log.access
    prefix = context.config.api_server.base_path.rstrip("/")
    open_paths = frozenset(prefix + path for path in OPEN)

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        status = 499  # the client went away
        connection = connection_of(request)
        if connection is not None:
            connection.head_read()
        metrics.http_inflight.inc()
        try:
            response = await answer(request, handler)
            status = response.status
            return response
        finally:
            if connection is not None:
                connection.answered()
            metrics.http_inflight.dec()
            seconds = time.perf_counter() - started
            metrics.http_duration.labels(_route(request), request.method, str(status)).observe(seconds)
            if log_access:
                access_log.info(
                    "%s %s %d %.1f ms from %s",
                    request.method,
                    request.path_qs,
                    status,
                    seconds * 1e3,
                    request.remote,
                )

    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            _authenticate(request, context, open_paths)
            response = cors.preflight(request) or await handler(request)
        except Exception as error:  # the catch-all: whatever failed, the client gets an answer
            if request.writer.output_size:
                # Half of an answer is on its way: cut off it is known to be half, with another behind it not.
                if not isinstance(error, ConnectionError):
                    log.warning("%s %s broke off: %s", request.method, request.path, error)
                raise ConnectionAbortedError("the answer broke off") from error
            response = to_response(not_this_way(error, request, methods), request)
        if not response.prepared and INDEX_HEADER not in response.headers:
            response.headers[INDEX_HEADER] = str(request.get(INDEX, context.live.index))
        if REQUEST_ID in request:
            response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
        return response

    return around


def _authenticate(request: web.Request, context: Context, open_paths: frozenset[str]) -> None:
    """A token has to be good also where nobody needs one: a revoked one opens nothing. Raises Problem (401)."""
    if "Authorization" in request.headers and request.path.rstrip("/") not in open_paths:
        user_of(request, context)


def _route(request: web.Request) -> str:
    """The route's pattern, never the path: labels must not grow with the names of resources."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
