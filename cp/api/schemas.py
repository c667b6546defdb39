"""Pieces of the API's description: schemas, parameters and answers that many operations share.

Plain values of OpenAPI 3.1. What an object has beyond its listed members is left open, as answers grow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cp.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX

Spec = dict[str, Any]

TEXT: Spec = {"type": "string"}
NUMBER: Spec = {"type": "integer"}
FLAG: Spec = {"type": "boolean"}
ANYTHING: Spec = {"type": "object"}
TIME: Spec = {"type": "string", "format": "date-time"}
LABELS: Spec = {"type": "object", "additionalProperties": TEXT}


def obj(required: Mapping[str, Spec] | None = None, optional: Mapping[str, Spec] | None = None) -> Spec:
    """An object with members that are always there, and members that may be."""
    found: Spec = {"type": "object", "properties": {**(required or {}), **(optional or {})}}
    return found | {"required": list(required)} if required else found


def array(items: Spec) -> Spec:
    return {"type": "array", "items": items}


def one_of(*values: str) -> Spec:
    return {"type": "string", "enum": list(values)}


def ref(name: str) -> Spec:
    return {"$ref": f"#/components/schemas/{name}"}


def page(items: Spec, *, next_always: bool = True) -> Spec:
    """A list in pages. next: the address of the following page, null (or absent) on the last one."""
    following = {"next": {"type": ["string", "null"]}}
    always = {"total": NUMBER, "items": array(items)}
    return obj(always | following) if next_always else obj(always, following)


def json(schema: Spec, description: str = "done", headers: Spec | None = None) -> Spec:
    """An answer of JSON."""
    found: Spec = {"description": description, "content": {"application/json": {"schema": schema}}}
    return found | {"headers": headers} if headers else found


def other(media: str, description: str, schema: Spec | None = None) -> Spec:
    """An answer that is no JSON."""
    return {"description": description, "content": {media: {"schema": schema or TEXT}}}


# --- parameters ---------------------------------------------------------------------------


def path(name: str) -> Spec:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def query(name: str, schema: Spec, description: str) -> Spec:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def header(name: str, description: str, schema: Spec = TEXT) -> Spec:
    return {"name": name, "in": "header", "schema": schema, "description": description}


_INDEX: Spec = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
MOMENT: Spec = {"anyOf": [_INDEX, TIME]}
READ: tuple[Spec, ...] = (
    query("at", MOMENT, "as it was after this log index, or at this time"),
    query("index", _INDEX, "wait until at least this log index is read"),
    query("consistency", one_of("local", "linearizable"), "linearizable asks the leader what is current"),
    header("X-Raftmesh-Min-Index", "the same as index", _INDEX),
)
PAGES: tuple[Spec, ...] = (
    query(
        "size",
        {"type": "integer", "minimum": 1, "maximum": PAGE_SIZE_MAX, "default": PAGE_SIZE_DEFAULT},
        "of a page",
    ),
    query("offset", {"type": "integer", "minimum": 0, "maximum": 999_999_999}, "of the first item"),
)
FILTERS: tuple[Spec, ...] = (
    query("name", TEXT, "a part of the name"),
    {
        "name": "filter",
        "in": "query",
        "style": "deepObject",
        "explode": True,
        "schema": {
            "type": "object",
            "propertyNames": {"pattern": r"^labels\.[^\[\]]+$"},
            "additionalProperties": TEXT,
        },
        "description": "filter[labels.KEY]=VALUE: what carries the label",
    },
)
PROXY_FILTERS: tuple[Spec, ...] = (
    query("tag", array(TEXT), "NAME:VALUE, of an inbound or of the gateway; may be repeated"),
    query("gateway", one_of("true", "false", "builtin", "delegated"), "only gateways, or none"),
)
WATCH: tuple[Spec, ...] = (
    query("watch", FLAG, "answer with server-sent events: what is there, then each change of it"),
    query("since", MOMENT, "of a watch: begin after this"),
)
SHADOW = query("shadow", FLAG, "count the policies that are on trial, too")
WRITE: tuple[Spec, ...] = (
    header("If-Match", "write only when this is the version that is there"),
    header("If-None-Match", "*: write only when nothing is there"),
    header("X-Raftmesh-Reason", "why, for the history"),
    header("X-Raftmesh-Request-Id", "a write that is repeated with the same id is done once"),
)
ETAG: Spec = {"ETag": {"description": "the version: the log index that wrote it", "schema": TEXT}}

# --- bodies -------------------------------------------------------------------------------

_FAULT = obj({"field": TEXT, "reason": TEXT})
COMPONENTS: dict[str, Spec] = {
    "Error": obj(
        {"type": TEXT, "status": NUMBER, "title": TEXT, "detail": TEXT},
        {
            "instance": TEXT,
            "invalid_parameters": array(_FAULT),
            "details": TEXT,
            "causes": array(obj({"field": TEXT, "message": TEXT})),
        },
    ),
    "Written": obj(None, {"warnings": array(TEXT)}),
    "Meta": obj({"type": TEXT, "mesh": TEXT, "name": TEXT, "labels": LABELS}, {"kri": TEXT}),
    "Cluster": obj(
        {
            "id": TEXT,
            "role": TEXT,
            "term": NUMBER,
            "commitIndex": NUMBER,
            "appliedIndex": NUMBER,
            "hasQuorum": FLAG,
            "members": array(obj({"id": TEXT, "address": TEXT, "role": TEXT})),
        }
    ),
    "Event": obj(
        {
            "index": NUMBER,
            "time": TIME,
            "op": one_of("put", "delete"),
            "type": TEXT,
            "mesh": TEXT,
            "name": TEXT,
            "actor": TEXT,
            "reason": TEXT,
            "requestId": TEXT,
        },
        {"resource": {"type": ["object", "null"]}, "previousVersion": NUMBER},
    ),
}
ERROR: Spec = {"$ref": "#/components/responses/Error"}
RESPONSES: Spec = {"Error": json(ref("Error"), "refused, or not possible now; the body tells why")}
