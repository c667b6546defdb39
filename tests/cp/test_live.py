"""The fold of the feed into a view: whole steps, breaks, snapshots, and who is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from cp.live import LiveView
from mesh.codec import decode, encode_value
from mesh.resource import Resource
from mesh.view import Changes, View
from raftstore.errors import Compacted
from raftstore.memory import MemoryStore
from raftstore.types import (
    Bookmark,
    Commit,
    Delete,
    Event,
    FeedItem,
    Key,
    Op,
    Put,
    Record,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
    Txn,
)


def mesh(name: str) -> Resource:
    return decode({"type": "Mesh", "name": name})


def key(name: str) -> Key:
    return Key("Mesh", "", name)


def put(index: int, name: str, value: bytes | None = None) -> Event:
    body = encode_value(mesh(name)) if value is None else value
    return Event(index, 1, 1000, "", "", "", "", Op.PUT, key(name), body, 0, 1000)


def delete(index: int, name: str) -> Event:
    return Event(index, 1, 1000, "", "", "", "", Op.DELETE, key(name), None, 1, 0)


def record(name: str, version: int) -> Record:
    return Record(key(name), encode_value(mesh(name)), version, 1000, 1000)


def snapshot(live: LiveView, index: int, *records: Record) -> None:
    live.fold(SnapshotStart(index, len(records)))
    live.fold(SnapshotChunk(records))
    live.fold(SnapshotEnd(index))


def names(view: View) -> list[str]:
    return [resource.name for resource in view.list("Mesh")]


class Told:
    """What a subscriber heard."""

    def __init__(self, live: LiveView) -> None:
        self.calls: list[tuple[int, list[str], bool]] = []
        self.unsubscribe = live.subscribe(self)

    def __call__(self, view: View, changes: Changes, commit: Commit | None) -> None:
        self.calls.append((view.index, sorted(k.name for k in changes.keys), commit is not None))


@pytest.fixture
def live() -> LiveView:
    return LiveView(MemoryStore())


async def test_nothing_is_ready_before_the_snapshot_is_whole(live: LiveView) -> None:
    live.fold(SnapshotStart(5, 1))
    live.fold(SnapshotChunk((record("a", 3),)))
    assert not live.ready
    assert not await live.wait_for(0, 0.01)
    live.fold(SnapshotEnd(5))
    assert (live.ready, live.index, names(live.view)) == (True, 5, ["a"])


async def test_a_commit_is_one_step(live: LiveView) -> None:
    snapshot(live, 0)
    told = Told(live)
    live.fold(Commit(4, (put(4, "a"), put(4, "b"), delete(4, "a"))))
    assert names(live.view) == ["b"]
    assert told.calls == [(4, ["b"], True)]
    live.fold(Commit(4, (put(4, "c"),)))  # the same index again, after a resume
    assert names(live.view) == ["b"]
    told.unsubscribe()
    live.fold(Commit(5, (put(5, "d"),)))
    assert len(told.calls) == 1


async def test_a_bookmark_moves_the_index(live: LiveView) -> None:
    snapshot(live, 3)
    waiting = asyncio.create_task(live.wait_for(9, 60.0))
    await asyncio.sleep(0)
    live.fold(Bookmark(9))
    assert await waiting
    assert live.index == 9


async def test_who_is_cancelled_as_the_index_comes_does_not_go_on(live: LiveView) -> None:
    """A task that lost its cancellation here kept a worker from stopping."""
    snapshot(live, 3)
    waiting = asyncio.create_task(live.wait_for(9, 60.0))
    await asyncio.sleep(0)
    live.fold(Bookmark(9))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_second_snapshot_is_told_as_a_difference(live: LiveView) -> None:
    snapshot(live, 5, record("kept", 1), record("changed", 2), record("gone", 3))
    told = Told(live)
    snapshot(live, 9, record("kept", 1), record("changed", 8), record("new", 9))
    assert told.calls == [(9, ["changed", "gone", "new"], False)]
    assert names(live.view) == ["changed", "kept", "new"]
    with pytest.raises(Compacted):
        live.at(5)


async def test_what_is_not_understood_deletes_nothing(
    live: LiveView, caplog: pytest.LogCaptureFixture
) -> None:
    snapshot(live, 5, record("a", 1))
    with caplog.at_level(logging.ERROR):
        live.fold(Commit(6, (put(6, "a", b"\xff not json"), put(6, "b"))))
    assert names(live.view) == ["a", "b"]
    assert "left out of the view" in caplog.text


async def test_a_subscriber_that_fails_stops_nobody(live: LiveView, caplog: pytest.LogCaptureFixture) -> None:
    snapshot(live, 0)

    def broken(view: View, changes: Changes, commit: Commit | None) -> None:
        raise RuntimeError("broken")

    live.subscribe(broken)
    told = Told(live)
    live.fold(Commit(1, (put(1, "a"),)))
    assert len(told.calls) == 1
    assert "a subscriber of the view failed at index 1" in caplog.text


async def test_following_a_store_over_a_break_of_the_feed() -> None:
    store = MemoryStore()
    live = LiveView(store)
    task = asyncio.create_task(live.run())
    assert await live.wait_for(0, 60.0)
    outcome = await store.submit(Txn((Put(key("a"), encode_value(mesh("a"))),)))
    assert await live.wait_for(outcome.index, 60.0)
    store.events.close()  # every subscription ends, as when the store process restarts
    store.events._closed = False
    outcome = await store.submit(Txn((Delete(key("a")), Put(key("b"), encode_value(mesh("b"))))))
    assert await live.wait_for(outcome.index, 60.0)
    assert names(live.view) == ["b"]
    assert names(live.at(outcome.index - 1)[1]) == ["a"]
    task.cancel()


async def test_commits_after_an_index_then_live() -> None:
    live = LiveView(MemoryStore())
    snapshot(live, 0)
    live.fold(Commit(1, (put(1, "a"),)))
    commits = live.commits(0)
    first = await anext(commits)
    assert isinstance(first, Commit)
    assert first.index == 1
    assert await anext(commits) == Bookmark(1)
    waiting = asyncio.create_task(anext(commits))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    live.fold(Commit(2, (put(2, "b"),)))
    assert (await waiting).index == 2


async def test_what_commits_while_a_reader_is_busy_is_not_skipped(live: LiveView) -> None:
    """A reader that writes to its client between two commits gives the fold time to go on."""
    snapshot(live, 1)
    live.fold(Commit(2, (put(2, "a"),)))
    commits = live.commits(1)
    seen = [await anext(commits)]
    live.fold(Commit(3, (put(3, "b"),)))
    live.fold(Commit(4, (put(4, "c"),)))
    while not (isinstance(seen[-1], Bookmark) and seen[-1].index == 4):
        seen.append(await anext(commits))
    assert [item.index for item in seen if isinstance(item, Commit)] == [2, 3, 4]
    await commits.aclose()  # type: ignore[attr-defined]


# --- the past of a worker that starts late --------------------------------------------------


async def test_a_worker_that_starts_late_knows_the_past_and_tells_the_present_once() -> None:
    store = MemoryStore()
    for number, name in enumerate(("a", "b", "a")):
        await store.submit(Txn((Put(key(name), encode_value(mesh(name))),), request_id=str(number)))
    await store.submit(Txn((Delete(key("b")),), request_id="gone"))
    live = LiveView(store)
    told = Told(live)
    following = asyncio.create_task(live.run())
    assert await live.wait_for(4, 60.0)
    assert told.calls == [(4, ["a"], False)], "nobody sees the states on the way"
    assert live.history.base_index == 0
    assert [names(live.at(index)[1]) for index in range(5)] == [[], ["a"], ["a", "b"], ["a", "b"], ["a"]]
    assert [commit.index for commit in live.history.after(1)] == [2, 3, 4]
    await store.submit(Txn((Put(key("c"), encode_value(mesh("c"))),), request_id="c"))
    assert await live.wait_for(5, 60.0)
    assert told.calls[1:] == [(5, ["c"], True)]
    following.cancel()


async def test_what_is_told_at_the_end_of_a_replay_is_what_a_snapshot_tells() -> None:
    store = MemoryStore()
    await store.submit(Txn((Put(key("a"), encode_value(mesh("a"))),), request_id="a"))
    live = LiveView(store)
    heard: list[Changes] = []
    live.subscribe(lambda view, changes, commit: heard.append(changes))
    following = asyncio.create_task(live.run())
    assert await live.wait_for(1, 60.0)
    following.cancel()
    assert heard == [View.empty().with_changes(1, [(r.key, r) for r in live.view])[1]]


class _Endless(MemoryStore):
    """A feed that has the next of very many commits always at hand, until it was told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.stop = 0, False

    async def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        yield SnapshotStart(1, 0)
        yield SnapshotEnd(1)
        yield Bookmark(1)
        while not self.stop and self.last < 20_000:
            self.last = max(self.last, 1) + 1
            yield Commit(self.last, (put(self.last, f"m{self.last % 10}"),))
        await asyncio.Event().wait()


async def test_who_follows_a_feed_that_never_waits_lets_others_have_their_turn() -> None:
    store = _Endless()
    live = LiveView(store)
    task = asyncio.create_task(live.run())
    turns: list[int] = []
    try:
        async with asyncio.timeout(60):
            while len(turns) < 20:
                await asyncio.sleep(0)
                turns.append(live.index)
            store.stop = True
            assert await live.wait_for(store.last, 60)
    finally:
        store.stop = True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert turns[-1] > turns[0], "it goes on meanwhile"
    assert any(later - earlier > 1 for earlier, later in pairwise(turns)), "and takes several at once"
