"""`/openapi.json`: the API described from its own routes; `/docs`: a page to browse it.

The routes are walked, so what is served is described and nothing else is. A route for resources of any
kind stands for one path per kind, described from the declaration of the kind (mesh/schema.py); the others
are described in `cp/api/operations.py`. The page is one file that fetches nothing but `openapi.json`, so
it works where there is no internet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from importlib.resources import files

import orjson
from aiohttp import web

from cp.api.context import Context
from cp.api.operations import OPERATIONS
from cp.api.overviews import OLDER
from cp.api.schemas import (
    COMPONENTS,
    ERROR,
    ETAG,
    FILTERS,
    PAGES,
    PROXY_FILTERS,
    READ,
    RESPONSES,
    TEXT,
    TIME,
    WATCH,
    WRITE,
    Spec,
    header,
    json,
    obj,
    one_of,
    page,
    path,
    query,
    ref,
)
from cp.version import version
from mesh.kinds.base import Kind
from mesh.registry import KINDS, kind_by_path
from mesh.schema import components

ROUTES: web.AppKey[list[web.RouteDef]] = web.AppKey("routes", list[web.RouteDef])
_PARAMETER = re.compile(r"{(\w+)(?::([^{}]+))?}")
_FORMATS = one_of("universal", "kubernetes", "k8s")
_HOSTNAME = obj({"hostname": TEXT, "zones": {"type": "array", "items": obj({"name": TEXT})}})
_KEY = obj({"mesh": TEXT, "name": TEXT})
_ATTACHMENTS = {"type": "array", "items": obj({"type": TEXT, "name": TEXT, "service": TEXT})}
_ATTACHED = obj({"kind": TEXT, "dataplane": _KEY, "attachments": _ATTACHMENTS})
_WITH_HOSTNAMES = ("MeshService", "MeshExternalService", "MeshMultiZoneService")


def routes(context: Context) -> list[web.RouteDef]:
    base_path = context.config.api_server.base_path
    made: list[bytes] = []  # once, when somebody asks: nothing of it changes while the process lives

    async def openapi(request: web.Request) -> web.Response:
        if not made:
            served = request.app[ROUTES]
            made.append(orjson.dumps(description(served, base_path)))
        return web.Response(body=made[0], content_type="application/json")

    async def docs(request: web.Request) -> web.Response:
        policy = (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
        )
        text = files("cp.api").joinpath("docs.html").read_text()
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": policy})

    return [web.get("/openapi.json", openapi), web.get("/docs", docs)]


def description(served: Sequence[web.RouteDef], base_path: str = "/") -> Spec:
    """The OpenAPI 3.1 document of routes, which are given without the base path."""
    paths: dict[str, Spec] = {}
    known: set[tuple[str, str]] = set()
    for route in served:
        for template, kind in _templates(route.path):
            anonymous = _PARAMETER.sub("{}", template)
            if (route.method, anonymous) in known:
                continue  # the first of two routes answers
            operation = _operation(route.method, template, kind)
            if operation is None:
                continue
            known.add((route.method, anonymous))
            item = paths.setdefault(
                template, {"parameters": [path(name) for name, _ in _PARAMETER.findall(template)]}
            )
            item[route.method.lower()] = operation | {"operationId": _operation_id(route.method, template)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "raftmesh", "version": version(), "description": _ABOUT},
        "servers": [{"url": base_path.rstrip("/") or "/"}],
        "security": [{}, {"token": []}, {"certificate": []}],
        "paths": paths,
        "components": {
            "schemas": {**components(), **COMPONENTS},
            "responses": RESPONSES,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "certificate": {"type": "mutualTLS"},
            },
        },
    }


_ABOUT = "Kuma's API, and what a log adds to it: docs/api.md. Every answer carries X-Raftmesh-Index."


# --- routes -------------------------------------------------------------------------------


def _templates(route: str) -> Iterator[tuple[str, Kind | None]]:
    """The paths that a route stands for, each with the kind that it serves."""
    plural = next((match for match in _PARAMETER.finditer(route) if match[1] == "plural"), None)
    if plural is None:
        yield _PARAMETER.sub(r"{\1}", route), None
        return
    for name in [plural[2]] if plural[2] else _plurals():
        kind = kind_by_path(OLDER.get(name, name))
        assert kind is not None, f"the route {route} names no kind"
        if _fits(route, kind):
            yield _PARAMETER.sub(r"{\1}", route[: plural.start()] + name + route[plural.end() :]), kind


def _plurals() -> list[str]:
    return [name for kind in KINDS.values() if kind.path for name in (kind.path, *kind.path_aliases)]


def _fits(route: str, kind: Kind) -> bool:
    """Whether a route for any kind answers for this one."""
    if route.endswith("/_hostnames"):
        return kind.name in _WITH_HOSTNAMES
    if route.endswith("/_resources/dataplanes"):
        return kind.is_policy or kind.name == "MeshService"
    if route.endswith("{name}/dataplanes"):
        return kind.is_policy
    if route.startswith("/meshes/{mesh}/"):
        return kind.scope == "mesh"
    is_list = "{name}" not in route
    return is_list or kind.scope == "global"


def _operation(method: str, template: str, kind: Kind | None) -> Spec | None:
    """The description of an operation; None when the kind does not have it."""
    written = OPERATIONS.get(f"{method} {template}")
    if written is not None:
        found = written
    elif kind is not None:
        if kind.read_only and method != "GET":
            return None
        found = _of_kind(method, template, kind)
    else:
        found = {"summary": template, "responses": {"200": {"description": "done"}}}
    return found | {"responses": found["responses"] | {"default": ERROR}}


def _operation_id(method: str, template: str) -> str:
    """A name made of the method and the words of the path: unique, as the path is."""
    words = re.findall(r"_?[A-Za-z0-9]+|\+", template)
    return method.lower() + "".join("With" if word == "+" else word[0].upper() + word[1:] for word in words)


# --- resources ----------------------------------------------------------------------------


def _of_kind(method: str, template: str, kind: Kind) -> Spec:
    if template.endswith("/_hostnames"):
        hostnames = obj({"total": {"type": "integer"}, "items": {"type": "array", "items": _HOSTNAME}})
        return _described(kind, "The host names of a destination, by zone", json(hostnames), READ)
    if template.endswith("/_resources/dataplanes"):
        proxies = page(ref("Meta"), next_always=False)
        return _described(kind, "The proxies that it applies to", json(proxies), (*READ, *PAGES, *FILTERS))
    if template.endswith("{name}/dataplanes"):
        answer = json(obj({"total": {"type": "integer"}, "items": {"type": "array", "items": _ATTACHED}}))
        return _described(kind, "The proxies that it selects, and where (the older form)", answer, READ)
    is_overview = template.endswith("/_overview") or "+insights" in template or "overviews" in template
    if is_overview:
        return _overview(template, kind)
    if template.endswith("{name}"):
        return _SINGLE[method](kind)
    return _list(kind)


def _described(kind: Kind, summary: str, answer: Spec, parameters: Sequence[Spec]) -> Spec:
    return {
        "tags": [kind.name],
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": answer},
    }


def _filters(kind: Kind) -> tuple[Spec, ...]:
    return (*FILTERS, *PROXY_FILTERS) if kind.name == "Dataplane" else FILTERS


def _list(kind: Kind) -> Spec:
    if kind.name == "MeshInsight":
        answer, parameters = json(page(ref(kind.name))), (*READ, *PAGES, *FILTERS)
        return _described(kind, "All of them, in pages", answer, parameters)
    answer = json(page(ref(kind.name)))
    answer["content"]["text/event-stream"] = {"schema": TEXT}
    parameters = (*READ, *PAGES, *_filters(kind), *WATCH)
    return _described(kind, "All of them, in pages", answer, parameters)


def _get(kind: Kind) -> Spec:
    answer = json(ref(kind.name))
    parameters: tuple[Spec, ...] = READ
    if kind.name != "MeshInsight":
        answer["headers"] = ETAG
        answer["content"]["text/event-stream"] = {"schema": TEXT}
        answer["content"]["application/json"] = {"schema": {"anyOf": [ref(kind.name), _MANIFEST]}}
        parameters = (
            *READ,
            *WATCH,
            query("format", _FORMATS, "kubernetes: as a manifest"),
            header("If-None-Match", "the version that the client has"),
        )
    found = _described(kind, f"One {kind.name}", answer, parameters)
    found["responses"]["304"] = {"description": "still the version of If-None-Match"}
    return found


def _put(kind: Kind) -> Spec:
    found = _described(
        kind, f"Create or replace a {kind.name}", json(ref("Written"), "replaced", ETAG), WRITE
    )
    found["responses"]["201"] = json(ref("Written"), "created", ETAG)
    media = ("application/json", "application/yaml")
    found["requestBody"] = {"required": True, "content": {each: {"schema": ref(kind.name)} for each in media}}
    return found


def _delete(kind: Kind) -> Spec:
    parameters = [each for each in WRITE if each["name"] != "If-None-Match"]
    return _described(kind, f"Delete a {kind.name}", json({"type": "object"}), parameters)


_SINGLE = {"GET": _get, "PUT": _put, "DELETE": _delete}
_MANIFEST = obj({"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object"}})


def _overview(template: str, kind: Kind) -> Spec:
    always = {"type": TEXT, "name": TEXT, "creationTime": TIME, "modificationTime": TIME}
    one = obj(always | ({"mesh": TEXT} if kind.scope == "mesh" else {}))
    if "{name}" in template:
        return _described(kind, "With what was observed of it", json(one), READ)
    return _described(
        kind, "With what was observed of them", json(page(one)), (*READ, *PAGES, *_filters(kind))
    )
