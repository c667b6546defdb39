"""`GET /history`: who changed what, when, why, through which replica: the audit log.

Filters: `type`, `mesh` (with the Mesh itself), `name`, `actor`; `since` (only later) and `until`, each an
index or a time. As pages, newest first; the answer tells `oldestIndex`, beyond which nothing is kept
here. `?include=changes` adds the field diff to each event. What secrets hold is never told.
`?format=jsonl` is the export: one event per line, oldest first, whole or not at all: below `oldestIndex`
the answer is 410, never a gap. `?watch=true` streams what happens from now on (or after `since`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.consistency import INDEX, INDEX_HEADER, moment, view_for
from cp.api.context import Context
from cp.api.events import event_body
from cp.api.kinds import may_see
from cp.api.lists import page_of
from cp.api.watch import wants_watch, watch
from cp.history import Entry
from cp.limits import HISTORY_CHUNK, HISTORY_SCANNED_MAX
from cp.problems import Problem, bad_parameter
from mesh.registry import KINDS
from mesh.resource import ResourceKey
from mesh.view import View
from raftstore.types import Event

FORMATS = ("json", "jsonl")
INCLUDES = ("changes",)
OLDEST_HEADER = "X-Raftmesh-Oldest-Index"
_FILTERS = ("type", "mesh", "name", "actor")


def routes(context: Context) -> list[web.RouteDef]:
    """The history of everything."""
    return [web.get("/history", _History(context).get)]


class _History:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def get(self, request: web.Request) -> web.StreamResponse:
        form, with_changes = _format(request), with_changes_of(request)
        if "type" in request.query and request.query["type"] not in KINDS:
            raise bad_parameter("type", f"unknown kind {request.query['type'][:60]!r}")
        if wants_watch(request):
            user_of(request, self._context)
            return await watch(
                request,
                self._context,
                lambda key: _visible(request, self._context, key),
                None,
                None,
                matches=lambda event: _matches(request, event),
                with_changes=with_changes,
            )
        await view_for(request, self._context)  # waits for the index that the client asks for
        if form == "jsonl":
            return await self._export(request, with_changes)
        return self._page(request, with_changes)

    # --- pages ----------------------------------------------------------------------------

    def _page(self, request: web.Request, with_changes: bool) -> web.Response:
        _, size = page_of(request.query)
        found: list[dict[str, Any]] = []
        more = False
        for before, event in self._newest_first(request):
            if len(found) >= size and event.index != found[-1]["index"]:
                more = True
                break
            found.append(self._body(request, event, before, with_changes))
        return json_answer(
            {
                "total": len(found),
                "items": found,
                "next": str(request.url.update_query(until=found[-1]["index"] - 1)) if more else None,
                "oldestIndex": self._context.live.history.base_index,
            }
        )

    def _newest_first(self, request: web.Request) -> Iterator[tuple[View, Event]]:
        """Events that pass the filters, each with the view before it. Raises Problem."""
        since, until = self._bounds(request)
        scanned = 0
        history = self._context.live.history
        entries = history.newest_first()
        later: Entry | None = next(entries, None)
        while later is not None:
            entry, later = later, next(entries, None)
            if entry.commit.index <= since:
                return
            if entry.commit.index > until:
                continue
            before = later.view if later is not None else history.at(history.base_index)
            for event in reversed(entry.commit.events):
                scanned += 1
                if scanned > HISTORY_SCANNED_MAX:
                    detail = "the filters match too little; narrow with since and until"
                    raise Problem(400, "Bad Request", detail)
                if _matches(request, event):
                    yield before, event

    def _bounds(self, request: web.Request) -> tuple[int, int]:
        """(only later than this, up to this)."""
        live, query = self._context.live, request.query
        since = moment(query["since"], live, "since") if "since" in query else 0
        until = moment(query["until"], live, "until") if "until" in query else live.index
        return since, min(until, request[INDEX])

    # --- the export -----------------------------------------------------------------------

    async def _export(self, request: web.Request, with_changes: bool) -> web.StreamResponse:
        """All events as lines, made while they are sent, so that none of it is held in memory."""
        history = self._context.live.history
        since, until = self._bounds(request)
        if "since" not in request.query:
            since = history.base_index
        entries = history.oldest_first(since)
        first = next(entries, None)  # 410 now rather than in the stream
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/x-ndjson",
                INDEX_HEADER: str(until),
                OLDEST_HEADER: str(history.base_index),
            }
        )
        await response.prepare(request)
        lines = bytearray()
        while first is not None and first[1].commit.index <= until:
            before, entry = first
            for event in entry.commit.events:
                if _matches(request, event):
                    lines += orjson.dumps(self._body(request, event, before, with_changes)) + b"\n"
            if len(lines) > HISTORY_CHUNK:
                await response.write(bytes(lines))
                lines.clear()
                await asyncio.sleep(0)
            first = next(entries, None)
        await response.write_eof(bytes(lines))
        return response

    def _body(self, request: web.Request, event: Event, before: View, with_changes: bool) -> dict[str, Any]:
        shown = _visible(request, self._context, ResourceKey(*event.key))
        return event_body(event, with_resource=shown, before=before if shown and with_changes else None)


def with_changes_of(request: web.Request) -> bool:
    """Whether `?include=changes` asks for field diffs. Raises Problem."""
    given = {part for text in request.query.getall("include", []) for part in text.split(",") if part}
    if wrong := sorted(given - set(INCLUDES)):
        raise bad_parameter("include", f"{wrong[0][:40]!r} is not allowed; allowed: {', '.join(INCLUDES)}")
    return bool(given)


def _format(request: web.Request) -> str:
    form = request.query.get("format", "json")
    if form not in FORMATS:
        raise bad_parameter("format", f"{form[:40]!r} is not allowed; allowed: {', '.join(FORMATS)}")
    return form


def _visible(request: web.Request, context: Context, key: ResourceKey) -> bool:
    kind = KINDS.get(key.kind)
    return kind is not None and may_see(request, context, kind, key)


def _matches(request: web.Request, event: Event) -> bool:
    """Whether an event passes the filters."""
    key = event.key
    mesh = key.name if key.kind == "Mesh" else key.mesh
    values = {"type": key.kind, "mesh": mesh, "name": key.name, "actor": event.actor}
    return all(request.query.get(name, values[name]) == values[name] for name in _FILTERS)
