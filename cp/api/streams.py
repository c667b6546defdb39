"""`GET /xds/streams`: the proxies connected to the worker that answers, and what they were sent."""

from __future__ import annotations

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.context import Context


def routes(context: Context) -> list[web.RouteDef]:
    async def streams(request: web.Request) -> web.Response:
        documents = [connection.document() for connection in context.connections]
        return json_answer(sorted(documents, key=lambda document: str(document["proxy"])))

    return [web.get("/xds/streams", streams)]
