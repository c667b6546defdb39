"""Which view a read is answered from, and how the answer tells.

Every answer carries `X-Raftmesh-Index`: the log index of the write, or of the view that was
read. A read that must see a write sends that index back (`X-Raftmesh-Min-Index`, or
`?index=`), to any replica: it waits until this one has it. `?consistency=linearizable` asks
the leader for the index that is current now, and waits for that. `?at=` reads the past: as it was
after a log index, or after the last one at or before a time (RFC 3339).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from aiohttp import web

from cp.api.context import Context
from cp.limits import AT_AHEAD_S_MAX, INDEX_WAIT_S
from cp.live import LiveView
from cp.problems import Problem, bad_parameter
from mesh.codec import rfc3339
from mesh.view import View

INDEX_HEADER = "X-Raftmesh-Index"
MIN_INDEX_HEADER = "X-Raftmesh-Min-Index"
_INDEX_MAX = 2**63
INDEX = web.RequestKey("index", int)  # what the answer's header will say


def informed(context: Context) -> LiveView:
    """The view, once it is more than the nothing that a joining replica begins with. Raises Problem (503)."""
    if not context.live.informed:
        detail = "this replica has nothing of the cluster's log yet; ask another, or wait until it has joined"
        raise Problem(503, "Service unavailable", detail, headers={"Retry-After": "1"})
    return context.live


async def view_for(request: web.Request, context: Context) -> View:
    """The view that this read asks for; notes its index for the answer. Raises Problem."""
    live = informed(context)
    wanted = min_index(request)
    consistency = request.query.get("consistency", "local")
    if consistency == "linearizable":
        wanted = max(wanted, await context.store.read_index(timeout_s=INDEX_WAIT_S))
    elif consistency != "local":
        raise bad_parameter("consistency", f"{consistency!r} is not allowed; allowed: local, linearizable")
    at = moment(request.query["at"], live) if "at" in request.query else None
    if at is not None:
        wanted = max(wanted, at)  # a replica that is behind waits rather than tell another story
    if live.index < wanted and not await live.wait_for(wanted, INDEX_WAIT_S):
        raise Problem(
            503,
            "Service unavailable",
            f"this replica is at index {live.index} and did not reach {wanted} within {INDEX_WAIT_S:g} s",
            headers={"Retry-After": "1", INDEX_HEADER: str(live.index)},
        )
    if at is not None:
        request[INDEX], view = live.at(at)
        return view
    request[INDEX] = live.index
    return live.view


def moment(text: str, live: LiveView, name: str = "at") -> int:
    """The log index that an index or a time means. Raises Problem for what is neither, for a time
    that lies ahead (400), and for one before the window that is kept (410)."""
    if text.isascii() and text.isdecimal():
        return read_number(name, text)
    try:
        # "+" of a time zone is a space in a query that was not escaped
        when = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        when = None
    if when is None or "T" not in text.upper() or when.tzinfo is None:
        reason = f"{text[:40]!r} is neither a log index nor a time such as 2026-01-31T09:30:00Z"
        raise bad_parameter(name, reason)
    time_ms = int(when.astimezone(UTC).timestamp() * 1000)
    if time_ms > (time.time() + AT_AHEAD_S_MAX) * 1000:
        raise bad_parameter(name, f"{text[:40]} lies in the future")
    index = live.history.index_at(time_ms)
    if index is None:
        oldest = live.history.oldest_time_ms
        kept = (
            f"the oldest time that is kept here is {rfc3339(oldest)}" if oldest else "nothing older is kept"
        )
        detail = f"{name}: {text[:40]} is compacted; {kept}"
        raise Problem(410, "Compacted", detail, extra={"firstIndex": live.history.base_index})
    return index


def min_index(request: web.Request) -> int:
    """The index that the answer must at least reflect; 0 when the client named none."""
    if MIN_INDEX_HEADER in request.headers:
        return read_number(MIN_INDEX_HEADER, request.headers[MIN_INDEX_HEADER])
    if "index" in request.query:
        return read_number("index", request.query["index"])
    return 0


def read_number(name: str, text: str) -> int:
    """A log index from a header or parameter. Raises Problem."""
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or int(text) >= _INDEX_MAX:
        raise bad_parameter(name, f"{text[:40]!r} is not a log index")
    return int(text)
