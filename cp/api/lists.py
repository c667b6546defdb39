"""Lists of a kind: in one mesh, or across all; filtered, in pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

from aiohttp import web

from cp.api.consistency import view_for
from cp.api.context import Context
from cp.api.kinds import allowed_for, expect_kind
from cp.api.watch import wants_watch, watch
from cp.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX
from cp.problems import Problem, bad_parameter, not_found, not_valid
from mesh.errors import FieldError
from mesh.registry import Kind
from mesh.resource import Resource, ResourceKey

RETRIEVE = "Could not retrieve resources"
Filter = Callable[[Resource], bool]
_LABEL_FILTER = re.compile(r"filter\[labels\.([^\]]+)\](.*)", re.DOTALL)


def routes(context: Context) -> list[web.RouteDef]:
    """Routes of lists. `/meshes` itself is the list of the kind Mesh."""
    lists = _Lists(context)
    return [web.get("/meshes/{mesh}/{plural}", lists.of_mesh), web.get("/{plural}", lists.of_all)]


class _Lists:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def of_mesh(self, request: web.Request) -> web.StreamResponse:
        mesh = request.match_info["mesh"]
        kind = expect_kind(request.match_info["plural"], "mesh", request.path)
        allowed_for(request, self._context)(kind, ResourceKey(kind.name, mesh, ""))
        view = await view_for(request, self._context)
        if view.get("Mesh", "", mesh) is None:
            raise not_found("Failed to retrieve Mesh")
        if wants_watch(request):
            return await watch(
                request, self._context, lambda key: key[:2] == (kind.name, mesh), kind.name, mesh
            )
        return self._page(request, kind, view.list(kind.name, mesh))

    async def of_all(self, request: web.Request) -> web.StreamResponse:
        kind = expect_kind_of_any_scope(request.match_info["plural"], request.path)
        allowed_for(request, self._context)(kind, ResourceKey(kind.name, "", ""))
        view = await view_for(request, self._context)
        if wants_watch(request):
            return await watch(request, self._context, lambda key: key.kind == kind.name, kind.name, None)
        return self._page(request, kind, view.list(kind.name))

    def _page(self, request: web.Request, kind: Kind, found: Sequence[Resource]) -> web.Response:
        offset, size = page_of(request.query)
        if keep := filters_of(request, kind):
            found = [resource for resource in found if all(accept(resource) for accept in keep)]
        following = next_page(request, self._context, offset + size, len(found))
        return self._context.documents.page(len(found), found[offset : offset + size], following)


def next_page(request: web.Request, context: Context, offset: int, total: int, **pinned: str) -> str | None:
    """The absolute URL of the page at `offset`, as the client reached us unless told otherwise.

    pinned: further parameters, instead of what the client gave for them.
    """
    if offset >= total:
        return None
    kept = [(name, value) for name, value in request.query.items() if name not in ("offset", "size", *pinned)]
    size = [("size", request.query["size"])] if "size" in request.query else []
    url = request.url.with_query([("offset", str(offset)), *pinned.items(), *kept, *size])
    root = urlsplit(context.config.api_server.root_url)
    if not root.netloc:
        return str(url)
    return urlunsplit((root.scheme, root.netloc, url.raw_path, url.raw_query_string, ""))


def expect_kind_of_any_scope(plural: str, path: str) -> Kind:
    """A kind listed across all meshes, or one of global scope. Raises Problem (404)."""
    try:
        return expect_kind(plural, "global", path)
    except Problem:
        return expect_kind(plural, "mesh", path)


def page_of(query: Mapping[str, str]) -> tuple[int, int]:
    """(offset, size). Raises Problem in Kuma's words."""
    size = PAGE_SIZE_DEFAULT
    if size_text := query.get("size"):
        if not _is_number(size_text) or int(size_text) == 0:
            raise _bad_size("invalid format")
        size = int(size_text)
        if size > PAGE_SIZE_MAX:
            raise _bad_size(f"invalid page size of {size}. Maximum page size is {PAGE_SIZE_MAX}")
    offset_text = query.get("offset") or "0"
    if not _is_number(offset_text):
        reason = f'{offset_text}: invalid offset: strconv.Atoi: parsing "{offset_text}": invalid syntax'
        raise Problem(400, RETRIEVE, reason)
    return int(offset_text), size


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9


def _bad_size(reason: str) -> Problem:
    return Problem(400, RETRIEVE, "Invalid page size", [FieldError("size", reason)])


def filters_of(request: web.Request, kind: Kind) -> list[Filter]:
    """What of a list is wanted. Raises Problem for a filter that is not understood."""
    found: list[Filter] = []
    for name, value in request.query.items():
        if match := _LABEL_FILTER.fullmatch(name):
            if match[2]:
                field = f"{_pattern(request)}.{name}"
                raise not_valid(RETRIEVE, [FieldError(field, "advanced filters are not supported")])
            found.append(_label_is(match[1], value))
        elif name.startswith("filter["):
            field = f"{_pattern(request)}.{name}"
            raise not_valid(RETRIEVE, [FieldError(field, "only filter[labels.KEY]=VALUE is supported")])
        elif name == "name":
            found.append(_name_holds(value))
        elif name == "tag" and kind.name == "Dataplane":
            found.append(_tag_is(value))
        elif name == "gateway" and value and kind.name == "Dataplane":
            found.append(_gateway_is(value))
    return found


def _pattern(request: web.Request) -> str:
    """The route as Kuma names it: `/meshes/{mesh}/dataplanes`."""
    prefix = "/meshes/{mesh}" if "mesh" in request.match_info else ""
    return f"{prefix}/{request.match_info.get('plural', 'dataplanes')}"


def _label_is(label: str, value: str) -> Filter:
    return lambda resource: resource.labels.get(label) == value


def _name_holds(part: str) -> Filter:
    return lambda resource: part in resource.name


def _tag_is(text: str) -> Filter:
    """`tag=name:value`: some inbound or the gateway has the tag, its value beginning so."""
    tag, _, value = text.partition(":")

    def has(resource: Resource) -> bool:
        return any(tag in tags and tags[tag].startswith(value) for tags in resource.spec.tag_sets)

    return has


def _gateway_is(text: str) -> Filter:
    if text not in ("true", "false", "builtin", "delegated"):
        raise bad_parameter("gateway", f"{text!r} is not allowed; allowed: true, false, builtin, delegated")

    def is_so(resource: Resource) -> bool:
        gateway = resource.spec.networking.gateway
        if text in ("true", "false"):
            return (gateway is not None) == (text == "true")
        return gateway is not None and str(gateway.type).lower() == text

    return is_so
