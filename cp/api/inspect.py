"""Inspection: what applies to a proxy and where it comes from, and what a policy or service touches.

`…/dataplanes/{dp}/_rules`, `_policies`, `_layout`, the policies and routes of one inbound or outbound, and
the reverse: `…/_resources/dataplanes` of a policy or MeshService, and `_hostnames` of a destination.
Everything is computed from the view that the read asks for, so `?at=` answers "what applied then?"; the
computing itself is in `mesh`. Parts of a proxy are addressed by KRI.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.consistency import view_for
from cp.api.context import Context
from cp.api.kinds import expect_kind
from cp.api.lists import filters_of, next_page, page_of
from cp.problems import Problem, bad_parameter, bad_request, not_found, not_valid
from mesh.hostnames import SELECTORS, hostnames
from mesh.layout import layout_document
from mesh.naming import Kri, parse_kri
from mesh.policy import attachments, documents
from mesh.policy.proxy import item_of
from mesh.registry import KINDS, Kind
from mesh.resource import Resource
from mesh.selection import dataplanes_of, dataplanes_of_gateway
from mesh.templates import TemplateError
from mesh.view import View

DATAPLANE = "/meshes/{mesh}/dataplanes/{name}"
Json = dict[str, Any]


def routes(context: Context) -> list[web.RouteDef]:
    """Routes below single resources; none of them is the path of a resource."""
    inspect = _Inspect(context)
    outbound = DATAPLANE + "/_outbounds/{outbound}"
    return [
        web.get(DATAPLANE + "/_rules", inspect.rules),
        web.get("/meshes/{mesh}/meshgateways/{name}/_rules", inspect.gateway_rules),
        web.get(DATAPLANE + "/policies", inspect.attached_policies),
        web.get(DATAPLANE + "/rules", inspect.flat_rules),
        web.get(DATAPLANE + "/_layout", inspect.layout),
        web.get(DATAPLANE + "/_policies", inspect.policies),
        web.get(DATAPLANE + "/_inbounds/{inbound}/_policies", inspect.inbound_policies),
        web.get(outbound + "/_policies", inspect.outbound_policies),
        web.get(outbound + "/_routes", inspect.outbound_routes),
        web.get(outbound + "/_routes/{route}/_policies", inspect.route_policies),
        web.get("/meshes/{mesh}/meshservices/{name}/_dataplanes", inspect.service_dataplanes),
        web.get("/meshes/{mesh}/meshgateways/{name}/dataplanes", inspect.gateway_dataplanes),
        web.get("/meshes/{mesh}/{plural}/{name}/dataplanes", inspect.attached_dataplanes),
        web.get("/meshes/{mesh}/{plural}/{name}/_resources/dataplanes", inspect.affected_dataplanes),
        web.get("/meshes/{mesh}/{plural}/{name}/_hostnames", inspect.hostnames),
    ]


class _Inspect:
    def __init__(self, context: Context) -> None:
        self._context = context

    # --- one proxy ------------------------------------------------------------------------

    async def rules(self, request: web.Request) -> web.Response:
        view = await self._view(request)
        dataplane = _need(view, "Dataplane", request, "Could not retrieve Dataplane")
        return json_answer(documents.rules_document(view, dataplane, shadow=_shadow(request)))

    async def gateway_rules(self, request: web.Request) -> web.Response:
        view = await self._view(request)
        gateway = _need(view, "MeshGateway", request, "Could not retrieve MeshGateway")
        return json_answer(documents.gateway_rules_document(view, gateway, shadow=_shadow(request)))

    async def layout(self, request: web.Request) -> web.Response:
        view, dataplane = await self._exclusive(request, "_layout")
        return json_answer(layout_document(view, dataplane, self._context.config.multizone.zone.name))

    async def policies(self, request: web.Request) -> web.Response:
        view, dataplane = await self._exclusive(request, "_policies")
        return json_answer(documents.policies_document(view, dataplane))

    async def inbound_policies(self, request: web.Request) -> web.Response:
        inbound = _kri(request, "inbound")
        view, dataplane = await self._exclusive(request, "_policies")
        return json_answer(documents.inbound_policies_document(view, dataplane, inbound.section))

    async def outbound_policies(self, request: web.Request) -> web.Response:
        outbound = _kri(request, "outbound")
        view, dataplane = await self._exclusive(request, "_policies")
        return json_answer(documents.outbound_policies_document(view, dataplane, str(outbound)))

    async def outbound_routes(self, request: web.Request) -> web.Response:
        outbound = _kri(request, "outbound")
        view, dataplane = await self._exclusive(request, "_routes")
        return json_answer(documents.routes_document(view, dataplane, str(outbound)))

    async def route_policies(self, request: web.Request) -> web.Response:
        outbound, route = _kri(request, "outbound"), _kri(request, "route")
        view, dataplane = await self._exclusive(request, "_policies")
        return json_answer(documents.route_policies_document(view, dataplane, str(outbound), str(route)))

    async def attached_policies(self, request: web.Request) -> web.Response:
        view = await self._view(request)
        dataplane = _need(view, "Dataplane", request, "Could not retrieve Dataplane")
        return json_answer(attachments.attached_policies(view, dataplane))

    async def flat_rules(self, request: web.Request) -> web.Response:
        view = await self._view(request)
        dataplane = _need(view, "Dataplane", request, "Could not retrieve Dataplane")
        return json_answer(attachments.flat_rules(view, dataplane))

    # --- what is touched ------------------------------------------------------------------

    async def affected_dataplanes(self, request: web.Request) -> web.Response:
        kind = expect_kind(request.match_info["plural"], "mesh", request.path)
        find = _affected(kind)
        if find is None:
            raise Problem(404, "Not Found", f"{kind.name} is no policy and applies to no proxy")
        view = await self._view(request)
        resource = _need(view, kind.name, request, f"Could not retrieve {kind.name}")
        return self._page(request, find(view, resource))

    async def attached_dataplanes(self, request: web.Request) -> web.Response:
        kind = expect_kind(request.match_info["plural"], "mesh", request.path)
        if not kind.is_policy:
            raise Problem(404, "Not Found", f"{kind.name} is no policy and applies to no proxy")
        view = await self._view(request)
        policy = _need(view, kind.name, request, f"Could not retrieve {kind.name}")
        return json_answer(attachments.attached_dataplanes(view, policy))

    async def service_dataplanes(self, request: web.Request) -> web.Response:
        view = await self._view(request)
        service = _need(view, "MeshService", request, "Could not retrieve MeshService")
        return self._page(request, dataplanes_of(view, service))

    async def gateway_dataplanes(self, request: web.Request) -> web.Response:
        """Kuma's older form: the keys of the proxies, no pages."""
        view = await self._view(request)
        gateway = _need(view, "MeshGateway", request, "Could not retrieve MeshGateway")
        found = dataplanes_of_gateway(view, gateway)
        items = [{"dataplane": {"mesh": each.mesh, "name": each.name}} for each in found]
        return json_answer({"total": len(items), "items": items})

    async def hostnames(self, request: web.Request) -> web.Response:
        plural = request.match_info["plural"]
        known = {KINDS[name].path: name for name in SELECTORS}
        if plural not in known:
            raise not_valid(f'only "{",".join(known)}" are available for inspection', [])
        view = await view_for(request, self._context)
        service = _need(view, known[plural], request, "could not retrieve service")
        try:
            found = hostnames(view, service, on_global=self._context.config.mode == "global")
        except TemplateError as error:
            raise Problem(500, "could not generate hostname", str(error)) from error
        items = [{"hostname": one.hostname, "zones": [{"name": zone} for zone in one.zones]} for one in found]
        return json_answer({"items": items, "total": len(items)})

    def _page(self, request: web.Request, dataplanes: Sequence[Resource]) -> web.Response:
        """One page of Dataplanes, narrowed as a list of them is; `next` only when there is more."""
        offset, size = page_of(request.query)
        keep = filters_of(request, KINDS["Dataplane"])
        found = [each for each in dataplanes if all(accept(each) for accept in keep)]
        items = [documents.meta_json(item_of(each).meta) for each in found[offset : offset + size]]
        following = next_page(request, self._context, offset + size, len(found))
        more = {"next": following} if following else {}
        return json_answer({"items": items, "total": len(found)} | more)

    # --- what all need --------------------------------------------------------------------

    async def _view(self, request: web.Request) -> View:
        """The view to answer from, in which the mesh of the path exists. Raises Problem."""
        view = await view_for(request, self._context)
        if view.get("Mesh", "", request.match_info["mesh"]) is None:
            raise not_found("Failed to retrieve Mesh")
        return view

    async def _exclusive(self, request: web.Request, endpoint: str) -> tuple[View, Resource]:
        """The Dataplane of the path, in a mesh whose destinations are all resources. Raises Problem."""
        view = await view_for(request, self._context)
        mesh = view.get("Mesh", "", request.match_info["mesh"])
        if mesh is None:
            raise not_found("Failed to build MeshContext")
        if mesh.spec.mesh_services_mode != "Exclusive":
            raise bad_request(f"bad request: can't use {endpoint} endpoint without meshService enabled")
        return view, _need(view, "Dataplane", request, "Failed to retrieve Dataplane")


def _need(view: View, kind: str, request: web.Request, title: str) -> Resource:
    found = view.get(kind, request.match_info["mesh"], request.match_info["name"])
    if found is None:
        raise not_found(title)
    return found


def _kri(request: web.Request, part: str) -> Kri:
    try:
        return parse_kri(request.match_info[part])
    except ValueError as error:
        raise bad_request(f"bad request: {error}") from None


def _shadow(request: web.Request) -> bool:
    """Whether policies that are only on trial count, too. Raises Problem."""
    text = request.query.get("shadow", "false")
    if text not in ("true", "false"):
        raise bad_parameter("shadow", f"{text[:40]!r} is not allowed; allowed: true, false")
    return text == "true"


def _affected(kind: Kind) -> Callable[[View, Resource], Sequence[Resource]] | None:
    """How to find the Dataplanes that a resource of a kind has an effect on; None when it has none."""
    if kind.is_policy:
        return documents.selected_dataplanes
    return dataplanes_of if kind.name == "MeshService" else None
