"""`/openapi.json`: the API described from the declarations of the kinds; `/docs`: a page to browse it.

Nothing is written down twice: a kind that is declared is described. The page is one file that
fetches nothing but `openapi.json`, so it works where there is no internet.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web

from cp.api.context import Context
from cp.version import version
from mesh.registry import KINDS, Kind
from mesh.schema import components

Spec = dict[str, Any]


def routes(context: Context) -> list[web.RouteDef]:
    async def openapi(request: web.Request) -> web.Response:
        return web.Response(body=_encoded(), content_type="application/json")

    async def docs(request: web.Request) -> web.Response:
        policy = (
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"
        )
        return web.Response(text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": policy})

    return [web.get("/openapi.json", openapi), web.get("/docs", docs)]


@lru_cache(maxsize=1)
def _encoded() -> bytes:
    return orjson.dumps(description())


def description() -> Spec:
    """The OpenAPI 3.1 document."""
    paths: dict[str, Spec] = {}
    for kind in KINDS.values():
        if kind.path:
            paths |= _paths(kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "raftmesh", "version": version()},
        "paths": paths,
        "components": {"schemas": {**components(), "Error": _ERROR}},
    }


def _paths(kind: Kind) -> dict[str, Spec]:
    in_mesh = kind.scope == "mesh"
    base = f"/meshes/{{mesh}}/{kind.path}" if in_mesh else f"/{kind.path}"
    mesh = [_path_parameter("mesh")] if in_mesh else []
    document = {"$ref": f"#/components/schemas/{kind.name}"}
    page = {
        "type": "object",
        "properties": {
            "total": {"type": "integer"},
            "items": {"type": "array", "items": document},
            "next": {"type": ["string", "null"]},
        },
    }
    item: Spec = {
        "parameters": [*mesh, _path_parameter("name")],
        "get": _operation(kind, "get", {"200": document}),
    }
    if not kind.read_only:
        content = {"application/json": {"schema": document}}
        item["put"] = _operation(kind, "put", {"200": {"type": "object"}, "201": {"type": "object"}})
        item["put"]["requestBody"] = {"required": True, "content": content}
        item["delete"] = _operation(kind, "delete", {"200": {"type": "object"}})
    listing = _operation(kind, "list", {"200": page})
    listing["parameters"] += [_query("size"), _query("offset")]
    found: dict[str, Spec] = {base: {"parameters": mesh, "get": listing}, base + "/{name}": item}
    if in_mesh:
        everywhere = _operation(kind, "listAll", {"200": page})
        everywhere["parameters"] += [_query("size"), _query("offset")]
        found[f"/{kind.path}"] = {"get": everywhere}
    return found


def _operation(kind: Kind, verb: str, answers: dict[str, Spec]) -> Spec:
    responses = {
        status: {"description": "done", "content": {"application/json": {"schema": schema}}}
        for status, schema in answers.items()
    }
    error = {"schema": {"$ref": "#/components/schemas/Error"}}
    responses["default"] = {"description": "an error", "content": {"application/json": error}}
    reads = verb in ("get", "list", "listAll")
    parameters = (
        [_query("at"), _query("index")] if reads else [_header("If-Match"), _header("X-Raftmesh-Reason")]
    )
    return {
        "operationId": f"{verb}{kind.name}",
        "tags": [kind.name],
        "parameters": parameters,
        "responses": responses,
    }


def _path_parameter(name: str) -> Spec:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _query(name: str) -> Spec:
    return {"name": name, "in": "query", "schema": {"type": "integer", "minimum": 0}}


def _header(name: str) -> Spec:
    return {"name": name, "in": "header", "schema": {"type": "string"}}


_ERROR: Spec = {
    "type": "object",
    "required": ["title", "detail"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "integer"},
        "title": {"type": "string"},
        "detail": {"type": "string"},
        "invalid_parameters": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
            },
        },
    },
}

# Texts of the document are set as text, never as HTML.
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>raftmesh API</title>
<style>body{font:15px sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
pre{background:#f4f4f4;padding:1rem;overflow:auto}summary{cursor:pointer;font-family:monospace}</style>
<h1>raftmesh API</h1><input id="q" placeholder="filter" aria-label="filter"><main id="m"></main><script>
const add=(to,tag,text)=>{const e=document.createElement(tag);if(text)e.textContent=text;to.append(e);return e};
fetch("openapi.json").then(r=>r.json()).then(d=>{const m=document.getElementById("m");
const entry=(title,body)=>{const e=add(m,"details");add(e,"summary",title);
e.ontoggle=()=>{if(e.children.length<2)add(e,"pre",JSON.stringify(body,null,2))}};
for(const [p,item] of Object.entries(d.paths))for(const v of ["get","put","delete"])
if(item[v])entry(v.toUpperCase()+" "+p,item[v]);
for(const [n,s] of Object.entries(d.components.schemas))entry(n,s);
document.getElementById("q").oninput=e=>{for(const x of m.children)
x.hidden=!x.firstChild.textContent.toLowerCase().includes(e.target.value.toLowerCase())}});
</script></html>
"""
