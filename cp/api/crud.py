"""One resource: GET, PUT and DELETE under Kuma's paths.

Preconditions are HTTP's: the ETag of a resource is its version, the log index that wrote
it; `If-Match` and `If-None-Match: *` make a write conditional, and the log decides.
"""

from __future__ import annotations

import secrets

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.body import read_object
from cp.api.consistency import INDEX_HEADER, informed, view_for
from cp.api.context import Context
from cp.api.failures import REQUEST_ID, REQUEST_ID_HEADER
from cp.api.kinds import allowed_for, expect_kind
from cp.api.watch import wants_watch, watch
from cp.limits import REASON_BYTES_MAX, REQUEST_ID_BYTES_MAX
from cp.plan import DeleteOp, Expect, PutOp, check_target
from cp.problems import Problem, bad_parameter, not_found
from cp.resources import Origin
from mesh.codec import to_kubernetes
from mesh.naming import parse_kri
from mesh.registry import KINDS, Kind
from mesh.resource import Resource, ResourceKey
from mesh.view import View

REASON_HEADER = "X-Raftmesh-Reason"
RETRIEVE = "Could not retrieve a resource"


def routes(context: Context) -> list[web.RouteDef]:
    """Routes of single resources, for kinds of global and of mesh scope."""
    crud = _Crud(context)
    found: list[web.RouteDef] = [web.get("/_kri/{kri}", crud.get_by_kri)]
    for path in ("/meshes/{mesh}/{plural}/{name}", "/{plural}/{name}"):
        found += [
            web.get(path, crud.get),
            web.put(path, crud.put),
            web.delete(path, crud.delete),
        ]
    return found


class _Crud:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def get(self, request: web.Request) -> web.StreamResponse:
        kind, key = key_of(request)
        allowed_for(request, self._context)(kind, key)
        view = await view_for(request, self._context)
        if wants_watch(request):
            return await watch(request, self._context, key.__eq__, key.kind, key.mesh)
        if kind.scope == "mesh" and view.get("Mesh", "", key.mesh) is None:
            raise not_found("Failed to retrieve Mesh")
        return _answer(request, self._context, view.get(*key))

    async def get_by_kri(self, request: web.Request) -> web.Response:
        view = await view_for(request, self._context)
        resource = find_by_kri(view, request.match_info["kri"])
        if resource is not None:
            allowed_for(request, self._context)(KINDS[resource.kind], resource.key)
        return _answer(request, self._context, resource)

    async def put(self, request: web.Request) -> web.Response:
        kind, key = key_of(request)
        context, allowed = self._context, allowed_for(request, self._context)
        origin = origin_of(request, context)
        await context.resources.judged(lambda view: check_target(view, context.config, key, allowed))
        operation = PutOp(
            await read_object(request), kind.name, key.mesh or None, key.name, expectation(request)
        )
        written = await context.resources.write([operation], origin, allowed)
        result = written.results[0]
        return json_answer(
            {"warnings": list(result.warnings)} if result.warnings else {},
            201 if result.created else 200,
            {INDEX_HEADER: str(written.index), "ETag": f'"{written.index}"'},
        )

    async def delete(self, request: web.Request) -> web.Response:
        _, key = key_of(request)
        written = await self._context.resources.write(
            [DeleteOp(key, expectation(request))],
            origin_of(request, self._context),
            allowed_for(request, self._context),
        )
        return json_answer({}, 200, {INDEX_HEADER: str(written.index)})


def key_of(request: web.Request) -> tuple[Kind, ResourceKey]:
    """What the path names. Raises Problem for an unknown kind or one of the other scope."""
    mesh = request.match_info.get("mesh", "")
    kind = expect_kind(request.match_info["plural"], "mesh" if mesh else "global", request.path)
    return kind, ResourceKey(kind.name, mesh, request.match_info["name"])


def find_by_kri(view: View, text: str) -> Resource | None:
    """The resource of that identifier. Raises Problem (400) when it is none."""
    try:
        kri = parse_kri(text)
    except ValueError as error:
        raise Problem(400, "Bad Request", f"bad request: {error}") from error
    kind = next((kind for kind in KINDS.values() if kind.short == kri.short and kind.path), None)
    if kind is None:
        raise Problem(400, "Bad Request", f'bad request: no kind has the short name "{kri.short}"')
    mesh = kri.mesh if kind.scope == "mesh" else ""
    exact = view.get(kind.name, mesh, kri.name)
    for resource in ([exact] if exact else []) + list(view.list(kind.name, mesh)):
        # What was written before labels were computed has no zone: it is this zone's own.
        if resource.display_name == kri.name and resource.zone in ("", kri.zone):
            return resource
    return None


def expectation(request: web.Request) -> Expect:
    """If-Match and If-None-Match of a write. Raises Problem for what cannot be understood."""
    match, none_match = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if match is not None and none_match is not None:
        raise bad_parameter("If-Match", "give If-Match or If-None-Match, not both")
    if none_match is not None:
        if none_match.strip() != "*":
            raise bad_parameter("If-None-Match", "only * is understood for a write")
        return Expect(absent=True)
    if match is None:
        return Expect()
    if match.strip() == "*":
        return Expect(exists=True)
    version = match.strip().removeprefix("W/").strip('"')
    if not version.isascii() or not version.isdecimal() or len(version) > 18 or int(version) == 0:
        raise bad_parameter("If-Match", f"{match[:40]!r} is no ETag of a resource")
    return Expect(version=int(version))


def origin_of(request: web.Request, context: Context) -> Origin:
    """Who asks, and under which request id. Raises Problem."""
    informed(context)
    request_id = request.headers.get(REQUEST_ID_HEADER, "")
    # "#N" is appended for each attempt
    if len(request_id.encode(errors="replace")) > REQUEST_ID_BYTES_MAX - 4 or not request_id.isprintable():
        raise bad_parameter(REQUEST_ID_HEADER, f"must be printable, at most {REQUEST_ID_BYTES_MAX - 4} bytes")
    reason = request.headers.get(REASON_HEADER, "")
    if len(reason.encode(errors="replace")) > REASON_BYTES_MAX:
        raise bad_parameter(REASON_HEADER, f"must be at most {REASON_BYTES_MAX} bytes")
    request[REQUEST_ID] = request_id or secrets.token_hex(16)
    return Origin(user_of(request, context).name, reason, request[REQUEST_ID], retry=bool(request_id))


def _answer(request: web.Request, context: Context, resource: Resource | None) -> web.Response:
    if resource is None:
        raise not_found(RETRIEVE)
    etag = f'"{resource.version}"'
    if request.headers.get("If-None-Match", "").removeprefix("W/") == etag:
        return web.Response(status=304, headers={"ETag": etag})
    form = request.query.get("format", "universal")
    if form in ("k8s", "kubernetes"):
        return json_answer(to_kubernetes(resource), 200, {"ETag": etag})
    if form != "universal":
        raise bad_parameter("format", f"{form!r} is not allowed; allowed: universal, kubernetes, k8s")
    body = context.documents.of(resource)
    return web.Response(body=body, content_type="application/json", headers={"ETag": etag})
