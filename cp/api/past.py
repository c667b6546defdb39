"""`GET /history`: who changed what, when, why, through which replica: the audit log.

Filters: `type`, `mesh` (with the Mesh itself), `name`, `actor`; `since` (only later) and `until`, each an
index or a time. As pages, newest first; the answer tells `oldestIndex`, beyond which nothing is kept
here. `?include=changes` adds the field diff to each event. What secrets hold is never told.
`?format=jsonl` is the export: one event per line, oldest first, whole or not at all: below `oldestIndex`
the answer is 410, never a gap. `?watch=true` streams what happens from now on (or after `since`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from aiohttp import web

from cp.api.answers import json_answer
from cp.api.auth import user_of
from cp.api.consistency import INDEX, INDEX_HEADER, moment, view_for
from cp.api.context import Context
from cp.api.events import event_body
from cp.api.kinds import may_see
from cp.api.lists import next_page, page_of
from cp.api.watch import wants_watch, watch
from cp.limits import HISTORY_CHUNK, HISTORY_SLICE
from cp.problems import bad_parameter
from mesh.registry import KINDS
from mesh.resource import ResourceKey
from mesh.view import View
from raftstore.types import Event

FORMATS = ("json", "jsonl")
INCLUDES = ("changes",)
OLDEST_HEADER = "X-Raftmesh-Oldest-Index"
_FILTERS: dict[str, Callable[[Event], str]] = {
    "type": lambda event: event.key.kind,
    "mesh": lambda event: event.key.name if event.key.kind == "Mesh" else event.key.mesh,
    "name": lambda event: event.key.name,
    "actor": lambda event: event.actor,
}


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
                matches=filter_of(request),
                with_changes=with_changes,
            )
        await view_for(request, self._context)  # waits for the index that the client asks for
        if form == "jsonl":
            return await self._export(request, with_changes)
        return await self._page(request, with_changes)

    # --- pages ----------------------------------------------------------------------------

    async def _page(self, request: web.Request, with_changes: bool) -> web.Response:
        """One page, a commit never torn, and how many events there are on all pages together.

        `next` keeps to what was there when the first page was asked for, so `total` is the same on each.
        """
        offset, size = page_of(request.query)
        since, until = self._bounds(request)
        found: list[dict[str, Any]] = []
        total = 0
        async for before, event in self._newest_first(since, until, filter_of(request)):
            if total >= offset and (len(found) < size or event.index == found[-1]["index"]):
                found.append(self._body(request, event, before, with_changes))
            total += 1
        following = next_page(request, self._context, offset + len(found), total, until=str(until))
        return json_answer(
            {
                "total": total,
                "items": found,
                "next": following if found else None,
                "oldestIndex": self._context.live.history.base_index,
            }
        )

    async def _newest_first(
        self, since: int, until: int, wanted: Callable[[Event], bool]
    ) -> AsyncIterator[tuple[View, Event]]:
        """Events that pass the filter, each with the view before it. Lets others run in between."""
        history = self._context.live.history
        looked_at = 0
        for before, entry in reversed(list(history.oldest_first(max(since, history.base_index)))):
            if entry.commit.index > until:
                continue
            for event in reversed(entry.commit.events):
                if wanted(event):
                    yield before, event
            looked_at += len(entry.commit.events)
            if looked_at > HISTORY_SLICE:
                looked_at = 0
                await asyncio.sleep(0)

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
        wanted, entries = filter_of(request), history.oldest_first(since)
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
                if wanted(event):
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


def filter_of(request: web.Request) -> Callable[[Event], bool]:
    """Whether an event is one of those that the request asks for."""
    asked = [(read, request.query[name]) for name, read in _FILTERS.items() if name in request.query]
    return lambda event: all(read(event) == value for read, value in asked)
