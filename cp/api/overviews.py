"""Resources together with what was observed of them: `_overview`, and its older spellings.

Also the services of a mesh, flattened from its ServiceInsight, which is one object per mesh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
from aiohttp import web

from cp.api.answers import json_answer
from cp.api.consistency import view_for
from cp.api.context import Context
from cp.api.lists import filters_of, next_page, page_of
from cp.problems import bad_request, not_found
from mesh.codec import rfc3339
from mesh.insights import service_insight
from mesh.kinds.insights import Service
from mesh.overview import insight_of, to_overview
from mesh.registry import KINDS, kind_by_path
from mesh.resource import DISPLAY_NAME, Resource
from mesh.view import View

SERVICE_TYPES = ("internal", "external", "gateway_delegated", "gateway_builtin")
OBSERVED = tuple(kind for kind in KINDS.values() if kind.has_insight and kind.path and kind.name != "Mesh")
# Kuma's older paths of the same answers.
OLDER = {"zoneingressoverviews": "zoneingresses", "zoneegressoverviews": "zoneegresses"}


def routes(context: Context) -> list[web.RouteDef]:
    overviews = _Overviews(context)
    found = [
        web.get("/service-insights", overviews.services),
        web.get("/meshes/{mesh}/service-insights", overviews.services),
        web.get("/meshes/{mesh}/service-insights/{service}", overviews.service),
    ]
    for kind in OBSERVED:
        prefix = "/meshes/{mesh}" if kind.scope == "mesh" else ""
        for plural in (kind.path, *kind.path_aliases):
            base = f"{prefix}/{{plural:{plural}}}"
            found += [
                web.get(f"{base}/_overview", overviews.page),
                web.get(f"{base}/{{name}}/_overview", overviews.one),
                web.get(f"{prefix}/{{plural:{plural}}}+insights", overviews.page),
                web.get(f"{prefix}/{{plural:{plural}}}+insights/{{name}}", overviews.one),
            ]
        if kind.scope == "mesh":
            found.append(web.get(f"/{{plural:{kind.path}}}/_overview", overviews.page))
            found.append(web.get(f"/{{plural:{kind.path}}}+insights", overviews.page))
    for older in OLDER:
        found += [
            web.get(f"/{{plural:{older}}}", overviews.page),
            web.get(f"/{{plural:{older}}}/{{name}}", overviews.one),
        ]
    return found


class _Overviews:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def page(self, request: web.Request) -> web.Response:
        view, kind = await self._kind(request)
        mesh = request.match_info.get("mesh")
        found = view.list(kind.name, mesh)
        keep = filters_of(request, kind)
        kept = [resource for resource in found if all(accept(resource) for accept in keep)]
        offset, size = page_of(request.query)
        items = [to_overview(each, insight_of(each, view)) for each in kept[offset : offset + size]]
        return json_answer(
            {
                "total": len(kept),
                "items": items,
                "next": next_page(request, self._context, offset + size, len(kept)),
            }
        )

    async def one(self, request: web.Request) -> web.Response:
        view, kind = await self._kind(request)
        mesh = request.match_info.get("mesh", "")
        resource = view.get(kind.name, mesh, request.match_info["name"])
        if resource is None:
            raise not_found("Could not retrieve a resource")
        return json_answer(to_overview(resource, insight_of(resource, view)))

    async def _kind(self, request: web.Request) -> tuple[View, Any]:
        plural = request.match_info["plural"]
        kind = kind_by_path(OLDER.get(plural, plural))
        assert kind is not None, "the routes name paths of kinds only"
        return await self._view(request), kind

    # --- services -------------------------------------------------------------------------

    async def services(self, request: web.Request) -> web.Response:
        wanted = _types(request)
        offset, size = page_of(request.query)
        name = request.query.get("name", "")
        found = [each for each in await self._services(request) if name in each["name"]]
        if wanted:
            found = [each for each in found if each.get("serviceType", "internal") in wanted]
        return json_answer(
            {
                "total": len(found),
                "items": found[offset : offset + size],
                "next": next_page(request, self._context, offset + size, len(found)),
            }
        )

    async def service(self, request: web.Request) -> web.Response:
        """One service; what has no proxies is a service without any, not an error."""
        [insight] = await self._insights(request)
        name = request.match_info["service"]
        return json_answer(service_of(insight, name, (insight.spec.services or {}).get(name)))

    async def _services(self, request: web.Request) -> Any:
        return [item for insight in await self._insights(request) for item in services_of(insight)]

    async def _insights(self, request: web.Request) -> list[Resource]:
        """The services of the mesh, or of each one; in a thread, as it walks over all their proxies."""
        view = await self._view(request)
        mesh = request.match_info.get("mesh")
        meshes = [mesh] if mesh is not None else [each.name for each in view.list("Mesh")]
        return await asyncio.to_thread(lambda: [service_insight(view, each) for each in meshes])

    async def _view(self, request: web.Request) -> View:
        view = await view_for(request, self._context)
        mesh = request.match_info.get("mesh")
        if mesh is not None and view.get("Mesh", "", mesh) is None:
            raise not_found("Failed to retrieve Mesh")
        return view


def services_of(insight: Resource) -> Iterator[dict[str, Any]]:
    """Each service of a mesh as an item of its own, by name."""
    services = insight.spec.services or {}
    for name in sorted(services):
        yield service_of(insight, name, services[name])


def service_of(insight: Resource, name: str, service: Service | None) -> dict[str, Any]:
    """One service. Its total and its address are not stored: they follow from the rest."""
    document = msgspec.to_builtins(service) if service is not None else {}
    counts = document.get("dataplanes") or {}
    total = counts.get("online", 0) + counts.get("offline", 0)
    counted = ({"total": total} if total else {}) | {k: v for k, v in counts.items() if k != "total"}
    item: dict[str, Any] = {
        "type": "ServiceInsight",
        "mesh": insight.mesh,
        "name": name,
        "creationTime": rfc3339(insight.created_ms),
        "modificationTime": rfc3339(insight.modified_ms),
    }
    # The display name is that of the object they are all stored in.
    if labels := {key: value for key, value in insight.labels.items() if key != DISPLAY_NAME}:
        item["labels"] = labels
    if service is None or service.dataplanes is not None:
        document["dataplanes"] = counted
    if document.get("serviceType", "internal") == "internal":
        document["addressPort"] = f"{name}.mesh:80"
    return item | document


def _types(request: web.Request) -> set[str]:
    wanted = {part.strip().lower() for part in request.query.get("type", "").split(",") if part}
    if wanted - set(SERVICE_TYPES):
        raise bad_request("bad request: unsupported service type")
    return wanted
