"""Following a stream: what a broken connection cut off is asked for again, from whoever answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import orjson
import pytest
from aiohttp import web

from cp.cli.contexts import ControlPlane
from cp.cli.errors import CommandError, Unreachable
from cp.cli.following import Follower, Message
from tests.cp.cli.conftest import Host

Serve = Callable[..., Awaitable[str]]


def event(name: str, index: int, **body: object) -> str:
    return f"id: {index}\nevent: {name}\ndata: {orjson.dumps(body).decode()}\n\n"


@pytest.fixture
def serve(host: Host) -> Serve:
    """Serves one text for each connection, then ends it; notes what `since` it was asked with."""

    async def start(*texts: str | int, asked: list[str | None]) -> str:
        left = list(texts)

        async def answer(request: web.Request) -> web.StreamResponse:
            asked.append(request.query.get("since"))
            text = left.pop(0) if left else 503
            if isinstance(text, int):
                return web.json_response({"title": "No"}, status=text)
            return web.Response(text=text, content_type="text/event-stream")

        return await host(answer)

    return start


async def followed(count: int, *addresses: str, **params: str) -> list[Message]:
    """The first messages; the stream ends there."""
    found = []
    async for message in Follower(ControlPlane(addresses=addresses), "/history", params).messages():
        found.append(message)
        if len(found) == count:
            break
    return found


async def test_a_message_that_was_cut_off_is_asked_for_again(serve: Serve) -> None:
    asked: list[str | None] = []
    cut = event("commit", 8, n=8)
    address = await serve(
        event("commit", 7, n=7) + cut[: len(cut) // 2], event("commit", 8, n=8), asked=asked
    )
    found = await followed(2, address, since="5")
    assert [(each.event, each.at, each.data) for each in found] == [
        ("commit", 7, '{"n":7}'),
        ("commit", 8, '{"n":8}'),
    ]
    assert asked == ["5", "7"]


async def test_another_address_goes_on_where_the_first_ended(serve: Serve) -> None:
    first: list[str | None] = []
    second: list[str | None] = []
    one = await serve(event("commit", 7) + event("bookmark", 9), asked=first)
    two = await serve(503, event("commit", 10), asked=second)
    found = await followed(2, "http://127.0.0.1:1", one, two)
    assert [each.at for each in found] == [7, 10]
    assert (first, second) == ([None, "9"], ["9", "9"])


async def test_half_a_snapshot_is_taken_anew(serve: Serve) -> None:
    asked: list[str | None] = []
    half = event("snapshot", 5, items=[1], last=False)
    whole = half + event("snapshot", 5, items=[2], last=True)
    address = await serve(half, whole, event("commit", 6), asked=asked)
    found = await followed(4, address)
    assert [(each.event, each.at) for each in found] == [("snapshot", 5)] * 3 + [("commit", 6)]
    assert asked == [None, None, "5"]


@pytest.mark.parametrize("answer", [410, event("compacted", 3, firstIndex=9)])
async def test_what_is_no_longer_kept_is_told(serve: Serve, answer: str | int) -> None:
    with pytest.raises(CommandError, match="what came after index 3 is no longer kept; start anew"):
        await followed(1, await serve(answer, asked=[]), since="3")


async def test_a_refusal_is_no_reason_to_try_again(serve: Serve) -> None:
    asked: list[str | None] = []
    with pytest.raises(CommandError, match="No"):
        await followed(1, await serve(403, asked=asked))
    assert len(asked) == 1


async def test_nobody_there_is_told_at_once() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        await followed(1, "http://127.0.0.1:1")
