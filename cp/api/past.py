"""`GET /history`: who changed what, newest first, within the window that is kept.

Filters: `type`, `mesh`, `name`, `actor`, `since` (only later indexes), `until` (up to an
index). `size` and `before` page backwards; the answer tells `oldestIndex`, beyond which
nothing is kept here. `?watch=true` streams everything that happens from now on (or `since`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.consistency import read_number, view_for
from cp.api.context import Context
from cp.api.events import event_body
from cp.api.kinds import may_see
from cp.api.lists import page_of
from cp.api.watch import wants_watch, watch
from cp.limits import HISTORY_SCANNED_MAX
from cp.problems import Problem, bad_parameter
from mesh.registry import KINDS
from mesh.resource import ResourceKey
from raftstore.types import Event


def routes(context: Context) -> list[web.RouteDef]:
    """The history of everything."""

    async def history(request: web.Request) -> web.StreamResponse:
        if wants_watch(request):
            user_of(request, context)
            return await watch(request, context, lambda key: _visible(request, context, key), None, None)
        await view_for(request, context)  # waits for the index that the client asks for
        _, size = page_of(request.query)
        found: list[dict[str, Any]] = []
        more = False
        for event in _matching(request, context):
            if len(found) == size and event.index != found[-1]["index"]:
                more = True
                break
            found.append(event_body(event, with_resource=_may_show(request, context, event)))
        body = {
            "total": len(found),
            "items": found,
            "next": str(request.url.update_query(until=found[-1]["index"] - 1)) if more else None,
            "oldestIndex": context.live.history.base_index,
        }
        return json_answer(body)

    return [web.get("/history", history)]


def _visible(request: web.Request, context: Context, key: ResourceKey) -> bool:
    kind = KINDS.get(key.kind)
    return kind is not None and may_see(request, context, kind, key)


def _may_show(request: web.Request, context: Context, event: Event) -> bool:
    return _visible(request, context, ResourceKey(*event.key))


def _matching(request: web.Request, context: Context) -> Iterator[Event]:
    """Events that pass the filters, newest first. Raises Problem."""
    query = request.query
    since = read_number("since", query.get("since", "0"))
    until = read_number("until", query["until"]) if "until" in query else None
    if "type" in query and query["type"] not in KINDS:
        raise bad_parameter("type", f"unknown kind {query['type'][:60]!r}")
    scanned = 0
    for entry in context.live.history.newest_first():
        if entry.commit.index <= since:
            return
        if until is not None and entry.commit.index > until:
            continue
        for event in reversed(entry.commit.events):
            scanned += 1
            if scanned > HISTORY_SCANNED_MAX:
                raise Problem(400, "Bad Request", "the filters match too little; narrow with since and until")
            if all(
                query.get(name, value) == value
                for name, value in (
                    ("type", event.key.kind),
                    ("mesh", event.key.mesh),
                    ("name", event.key.name),
                    ("actor", event.actor),
                )
            ):
                yield event
