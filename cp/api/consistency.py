"""Which view a read is answered from, and how the answer tells.

Every answer carries `X-Raftmesh-Index`: the log index of the write, or of the view that was
read. A read that must see a write sends that index back (`X-Raftmesh-Min-Index`, or
`?index=`), to any replica: it waits until this one has it. `?consistency=linearizable` asks
the leader for the index that is current now, and waits for that. `?at=` reads the past.
"""

from __future__ import annotations

from aiohttp import web

from cp.api.context import Context
from cp.limits import INDEX_WAIT_S
from cp.problems import Problem, bad_parameter
from mesh.view import View

INDEX_HEADER = "X-Raftmesh-Index"
MIN_INDEX_HEADER = "X-Raftmesh-Min-Index"
_INDEX_MAX = 2**63
INDEX = web.RequestKey("index", int)  # what the answer's header will say


async def view_for(request: web.Request, context: Context) -> View:
    """The view that this read asks for; notes its index for the answer. Raises Problem."""
    wanted = min_index(request)
    consistency = request.query.get("consistency", "local")
    if consistency == "linearizable":
        wanted = max(wanted, await context.store.read_index(timeout_s=INDEX_WAIT_S))
    elif consistency != "local":
        raise bad_parameter("consistency", f"{consistency!r} is not allowed; allowed: local, linearizable")
    live = context.live
    if live.index < wanted and not await live.wait_for(wanted, INDEX_WAIT_S):
        raise Problem(
            503,
            "Service unavailable",
            f"this replica is at index {live.index} and did not reach {wanted} within {INDEX_WAIT_S:g} s",
            headers={"Retry-After": "1", INDEX_HEADER: str(live.index)},
        )
    at = request.query.get("at")
    if at is not None:
        index, view = live.at(read_number("at", at))
        request[INDEX] = index
        return view
    request[INDEX] = live.index
    return live.view


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
