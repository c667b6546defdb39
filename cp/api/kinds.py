"""Which kind a path segment means, and whether the caller may see or write it."""

from __future__ import annotations

import difflib

from aiohttp import web

from cp.api.auth import user_of
from cp.api.context import Context
from cp.plan import Allowed
from cp.problems import Problem
from cp.roles import Edit
from mesh.registry import KINDS, Kind, kind_by_path
from mesh.resource import ResourceKey


def expect_kind(plural: str, scope: str, path: str) -> Kind:
    """The kind served under `plural` in that scope. Raises Problem (404) that tells what is meant."""
    kind = kind_by_path(plural)
    if kind is None:
        close = difflib.get_close_matches(plural, [k.path for k in KINDS.values() if k.path], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise Problem(404, "Not Found", f"there is no such path: {path}: unknown kind {plural!r}{hint}")
    if kind.scope == scope:
        return kind
    where = f"/meshes/{{mesh}}/{kind.path}" if kind.scope == "mesh" else f"/{kind.path}"
    raise Problem(404, "Not Found", f"there is no such path: {path}: {kind.name} is found under {where}")


def allowed_for(request: web.Request, context: Context) -> Allowed:
    """What decides, for this request's user, whether a resource may be read or written."""
    user = user_of(request, context)

    def allowed(kind: Kind, key: ResourceKey, edit: Edit | None = None) -> None:
        context.access.resource(user, kind, key, edit)

    return allowed


def may_see(request: web.Request, context: Context, kind: Kind, key: ResourceKey) -> bool:
    """Whether this request's user may read a resource, without raising."""
    try:
        allowed_for(request, context)(kind, key)
    except Problem:
        return False
    return True
