"""`/mesh-insights` and `/global-insight`: counts, computed from the view at the moment of the question.

They walk over all proxies of a mesh (30 ms for a thousand), so they are computed in a thread: the view is
a value, and the loop goes on serving.
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.consistency import view_for
from cp.api.context import Context
from cp.api.lists import filters_of, next_page, page_of
from cp.problems import not_found
from mesh.codec import rfc3339, to_document
from mesh.insights import global_insight, mesh_insight
from mesh.registry import KINDS

PATH = "/{plural:mesh-insights}"


def routes(context: Context) -> list[web.RouteDef]:
    """Insights of meshes, each carrying the name of its mesh, and of everything together."""

    async def page(request: web.Request) -> web.Response:
        view = await view_for(request, context)
        offset, size = page_of(request.query)
        names = {each.name for kind in ("Mesh", "MeshInsight") for each in view.list(kind)}
        found = await asyncio.to_thread(lambda: [mesh_insight(view, name) for name in sorted(names)])
        keep = filters_of(request, KINDS["MeshInsight"])
        kept = [insight for insight in found if all(accept(insight) for accept in keep)]
        return json_answer(
            {
                "total": len(kept),
                "items": [to_document(insight) for insight in kept[offset : offset + size]],
                "next": next_page(request, context, offset + size, len(kept)),
            }
        )

    async def one(request: web.Request) -> web.Response:
        view = await view_for(request, context)
        name = request.match_info["name"]
        if view.get("Mesh", "", name) is None and view.get("MeshInsight", "", name) is None:
            raise not_found("Could not retrieve a resource")
        return json_answer(to_document(await asyncio.to_thread(mesh_insight, view, name)))

    async def everything(request: web.Request) -> web.Response:
        view = await view_for(request, context)
        now = rfc3339(time.time_ns() // 1_000_000)
        return json_answer(await asyncio.to_thread(global_insight, view, now))

    return [
        web.get(PATH, page),
        web.get(PATH + "/{name}", one),
        web.get("/global-insight", everything),
    ]
