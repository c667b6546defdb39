"""Watching: `?watch=true&since=INDEX` on any list or resource, as server-sent events.

    id: 42
    event: commit
    data: {"index": 42, "time": …, "actor": …, "events": [{"op": "put", "resource": {…}}]}

One message is one commit of the log, whole: all of its events that match, in order, or
none. Without `since`, a `snapshot` comes first. `bookmark` says that nothing is missing up
to its index, when idle. A reader that is too far behind, or asks for what is no longer
kept, is told `compacted` and starts anew. The message id is the index, so a browser's
EventSource resumes by itself (`Last-Event-ID`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

import orjson
from aiohttp import web

from cp.api.consistency import INDEX_HEADER, moment
from cp.api.context import Context
from cp.api.documents import Documents
from cp.api.messages import encoded, message
from cp.fielddiff import without_secrets
from cp.limits import WATCH_BOOKMARK_S, WATCH_CHUNK, WATCHES_MAX
from cp.live import LiveView
from cp.problems import Problem, bad_parameter
from mesh.codec import to_document
from mesh.registry import KINDS
from mesh.resource import Resource, ResourceKey
from mesh.view import View
from raftstore.errors import Compacted
from raftstore.types import Commit, Event

Wanted = Callable[[ResourceKey], bool]
Matches = Callable[[Event], bool]


class _Watch(NamedTuple):
    """What of the log a stream tells.

    wanted: by key, of the snapshot and of commits; matches: by event. kind, mesh: of the snapshot
    that comes first; no kind means none. with_changes: tell which fields differ.
    """

    wanted: Wanted
    kind: str | None
    mesh: str | None
    matches: Matches
    with_changes: bool

    def positions(self, commit: Commit) -> tuple[int, ...]:
        """Which events of a commit are told."""
        return tuple(
            position
            for position, event in enumerate(commit.events)
            if self.wanted(ResourceKey(*event.key)) and self.matches(event)
        )


def wants_watch(request: web.Request) -> bool:
    """Whether this read is a watch. Raises Problem for a value that is neither yes nor no."""
    text = request.query.get("watch", "false")
    if text not in ("true", "false", ""):
        raise bad_parameter("watch", f"{text[:40]!r} is not allowed; allowed: true, false")
    if text == "true" and "at" in request.query:
        raise bad_parameter("at", "a watch tells what comes; begin in the past with since=INDEX")
    return text == "true"


def _every(event: Event) -> bool:
    return True


async def watch(
    request: web.Request,
    context: Context,
    wanted: Wanted,
    kind: str | None,
    mesh: str | None,
    *,
    matches: Matches = _every,
    with_changes: bool = False,
) -> web.StreamResponse:
    """Answer with the stream; returns when the client goes or the worker stops. See _Watch."""
    live, told = context.live, _Watch(wanted, kind, mesh, matches, with_changes)
    since = _since(request, live)
    if since is None and kind is None:
        since = live.index
    if since is not None:
        live.history.after(min(since, live.index))  # 410 now rather than in the stream
    if context.metrics.watches_now >= WATCHES_MAX:
        raise Problem(
            429, "Too many requests", f"{WATCHES_MAX} watches are open", headers={"Retry-After": "5"}
        )
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-store",
            INDEX_HEADER: str(live.index),
        }
    )
    with context.metrics.watching(), contextlib.suppress(ConnectionResetError):  # the client went
        await response.prepare(request)
        async for message in _messages(context, told, since):
            await response.write(message)
    return response


def _since(request: web.Request, live: LiveView) -> int | None:
    text = request.query.get("since") or request.headers.get("Last-Event-ID")
    return None if text is None else moment(text, live, "since")


async def _messages(context: Context, asked: _Watch, since: int | None) -> AsyncIterator[bytes]:
    """The stream's messages, without end but by `compacted` and the worker's stop."""
    live = context.live
    if since is None and asked.kind is not None:
        view = live.view
        since = view.index
        for chunk in _snapshot(context.documents, view, asked.wanted, asked.kind, asked.mesh):
            yield chunk
    told = live.index if since is None else since
    commits = live.commits(told)
    try:
        while True:
            try:
                async with asyncio.timeout(WATCH_BOOKMARK_S):
                    item = await anext(commits)
            except StopAsyncIteration:
                return
            except TimeoutError:
                # the generator ended with the timeout; go on where it stood
                commits = live.commits(told)
                yield message("bookmark", told, {"index": told})
                continue
            told = item.index
            if isinstance(item, Commit) and (positions := asked.positions(item)):
                before = live.history.at(item.index - 1) if asked.with_changes else None
                yield context.messages.of_commit(item, positions, before)
    except Compacted as error:
        yield message("compacted", told, {"asked": error.asked, "firstIndex": error.first_index})


def _snapshot(
    documents: Documents, view: View, wanted: Wanted, kind: str, mesh: str | None
) -> Iterator[bytes]:
    """The state in messages of bounded size, each made when the one before it is on its way."""
    found = [resource for resource in view.list(kind, mesh) if wanted(resource.key)]
    for start in range(0, len(found) or 1, WATCH_CHUNK):
        items = b",".join([_told(documents, resource) for resource in found[start : start + WATCH_CHUNK]])
        last = b"true" if start + WATCH_CHUNK >= len(found) else b"false"
        body = b'{"index":%d,"items":[%b],"last":%b}' % (view.index, items, last)
        yield encoded("snapshot", view.index, body)


def _told(documents: Documents, resource: Resource) -> bytes:
    """The JSON of a resource; a stream tells of a secret that it is there, and GET what it holds."""
    if KINDS[resource.kind].admin_only:
        return orjson.dumps(without_secrets(to_document(resource)))
    return documents.of(resource)
