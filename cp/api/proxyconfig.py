"""`…/dataplanes/{dp}/_config`: the Envoy configuration of a proxy, as JSON.

It is derived anew from the view that the read asks for, whichever replica the proxy is connected to.
`?shadow=true` counts the policies that are on trial, too, and `?include=diff` tells what they would change:
a trial can be read before it is run.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.consistency import view_for
from cp.api.context import Context
from cp.ca.promised import Promised
from cp.problems import Problem, bad_parameter, not_found
from mesh.resource import ResourceKey
from mesh.view import View
from xds.config.diff import diff
from xds.config.dump import render
from xds.config.source import Source
from xds.source import NodeInfo

Json = dict[str, Any]
INCLUDES = ("diff",)


def routes(context: Context) -> list[web.RouteDef]:
    """The configuration of one proxy."""

    async def config(request: web.Request) -> web.Response:
        mesh, name = request.match_info["mesh"], request.match_info["name"]
        proxy = ResourceKey("Dataplane", mesh, name)
        context.access.look(user_of(request, context), "VIEW_CONFIG_DUMP", proxy)
        if context.config.mode == "global":
            raise Problem(405, "Method not allowed", "the configuration of proxies is made in their zones")
        shadow, includes = shadow_of(request), _includes(request)
        view = await view_for(request, context)
        node = _node(view, context, mesh, name)
        zone = context.config.multizone.zone.name
        # In a thread: deriving a proxy of a large mesh from nothing must not hold up the loop.
        return json_answer(await asyncio.to_thread(_answer, view, node, zone, shadow, "diff" in includes))

    return [web.get("/meshes/{mesh}/dataplanes/{name}/_config", config)]


def _answer(view: View, node: NodeInfo, zone: str, shadow: bool, with_diff: bool) -> Json:
    found = derived(view, node, zone, shadow=shadow)
    if not with_diff:
        return {"xds": found}
    return {"diff": diff(derived(view, node, zone, shadow=False), found, tested=True), "xds": found}


def shadow_of(request: web.Request) -> bool:
    """Whether policies that are only on trial count, too. Raises Problem."""
    text = request.query.get("shadow", "false")
    if text not in ("true", "false"):
        raise bad_parameter("shadow", f"{text[:40]!r} is not allowed; allowed: true, false")
    return text == "true"


def _includes(request: web.Request) -> set[str]:
    given = {part for text in request.query.getall("include", []) for part in text.split(",") if part}
    if wrong := sorted(given - set(INCLUDES)):
        raise bad_parameter("include", f"{wrong[0][:40]!r} is not allowed; allowed: {', '.join(INCLUDES)}")
    return given


def _node(view: View, context: Context, mesh: str, name: str) -> NodeInfo:
    """What the proxy told of itself: now, when it is connected here, else what is recorded of it."""
    if view.get("Mesh", "", mesh) is None:
        raise not_found("Failed to retrieve Mesh")
    if view.get("Dataplane", mesh, name) is None:
        raise not_found("Failed to retrieve Dataplane")
    insight = view.get("DataplaneInsight", mesh, name)
    if insight is None:
        raise not_found("Failed to retrieve DataplaneInsight")
    for connection in context.connections:
        node = connection.stream.node
        if node is not None and node.id == f"{mesh}.{name}":
            return node
    return NodeInfo(f"{mesh}.{name}", metadata=insight.spec.metadata or {})


def derived(view: View, node: NodeInfo, zone: str, *, shadow: bool) -> Json:
    """All resources of a proxy: type URL -> name -> JSON. Of secrets only the names are told."""
    source = Source(view, identities=Promised(view), zone=zone, shadow=shadow)
    return render(source.connect(node, lambda deltas: None).snapshot() or {})
