"""`…/dataplanes/{dp}/{xds|stats|clusters}`, and of zone proxies: what Envoy's admin interface says.

The answer is Envoy's own, passed on as it comes: `/config_dump`, `/stats` and `/clusters`. Any replica
reaches any proxy (cp/envoyadmin.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from cp.access import Look
from cp.api.auth import user_of
from cp.api.consistency import view_for
from cp.api.context import Context
from cp.envoyadmin import ANSWER_BYTES_MAX, EnvoyAdmin, WithoutCredentials, target_of
from cp.problems import Problem, bad_parameter, not_found
from mesh.registry import KINDS
from mesh.resource import ResourceKey

CHUNK_BYTES = 1 << 16
_TYPES = ("application/json", "text/plain")


@dataclass(frozen=True, slots=True)
class Aspect:
    """One question to Envoy. parameters: of ours, with the values that are allowed -> Envoy's name of it;
    a value of `true` is passed on as the bare name, as Envoy expects."""

    path: str
    right: Look
    parameters: dict[str, tuple[str, tuple[str, ...]]]


_FLAG = ("true", "false")
ASPECTS = {
    "xds": Aspect("/config_dump", "VIEW_CONFIG_DUMP", {"include_eds": ("include_eds", _FLAG)}),
    "stats": Aspect(
        "/stats",
        "VIEW_STATS",
        {"format": ("format", ("text", "json", "prometheus")), "usedonly": ("usedonly", _FLAG)},
    ),
    "clusters": Aspect("/clusters", "VIEW_CLUSTERS", {"format": ("format", ("text", "json"))}),
}
# kind -> where its proxies are
_PATHS = {
    "Dataplane": "/meshes/{mesh}/dataplanes/{name}",
    "ZoneIngress": "/zoneingresses/{name}",
    "ZoneEgress": "/zoneegresses/{name}",
}


def routes(context: Context) -> list[web.RouteDef]:
    """Each aspect of each kind of proxy."""
    admin = EnvoyAdmin()
    return [
        web.get(f"{path}/{name}", _Handler(context, admin, kind, aspect).answer)
        for kind, path in _PATHS.items()
        for name, aspect in ASPECTS.items()
    ]


class _Handler:
    """Answers for one aspect of one kind."""

    def __init__(self, context: Context, admin: EnvoyAdmin, kind: str, aspect: Aspect) -> None:
        self._context = context
        self._admin = admin
        self._kind = kind
        self._aspect = aspect

    async def answer(self, request: web.Request) -> web.StreamResponse:
        context, aspect = self._context, self._aspect
        key = ResourceKey(self._kind, request.match_info.get("mesh", ""), request.match_info["name"])
        context.access.look(user_of(request, context), aspect.right, key)
        if context.config.mode == "global":
            raise Problem(405, "Method not allowed", "proxies are asked by the control plane of their zone")
        query = _query(request, aspect)
        view = await view_for(request, context)
        if key.mesh and view.get("Mesh", "", key.mesh) is None:
            raise not_found("Failed to retrieve Mesh")
        proxy = view.get(*key)
        if proxy is None:
            raise not_found(f"Could not retrieve {self._kind}")
        insight = view.get(KINDS[self._kind].has_insight, key.mesh, key.name)
        target = target_of(proxy, insight)
        async with self._admin.get(view, target, aspect.path, query) as answer:
            response = web.StreamResponse(status=answer.status, headers={"X-Content-Type-Options": "nosniff"})
            # A proxy is not trusted with a page of this origin.
            response.content_type = answer.content_type if answer.content_type in _TYPES else "text/plain"
            response.charset = "utf-8"
            await response.prepare(request)
            passed, hiding = 0, WithoutCredentials()
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                passed += len(chunk)
                if passed > ANSWER_BYTES_MAX:
                    break
                await response.write(hiding.feed(chunk))
            await response.write_eof(hiding.end())
            return response


def _query(request: web.Request, aspect: Aspect) -> dict[str, str]:
    """What Envoy is asked with. Raises Problem."""
    query = {}
    for name, (envoys, allowed) in aspect.parameters.items():
        value = request.query.get(name)
        if value is None or value == "false":
            continue
        if value == "" and allowed is _FLAG:
            value = "true"
        if value not in allowed:
            raise bad_parameter(name, f"{value[:40]!r} is not allowed; allowed: {', '.join(allowed)}")
        if value != "text":
            query[envoys] = "" if value == "true" else value
    return query
