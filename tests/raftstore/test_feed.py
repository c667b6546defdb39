"""Readers at their own pace: nothing missing, nothing twice, whatever is let go meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore import limits
from raftstore.codec import encode_batch
from raftstore.errors import Compacted
from raftstore.feed import Feed, Reader
from raftstore.machine import StateMachine
from raftstore.types import (
    OLDEST,
    Bookmark,
    Commit,
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


class Writer:
    """A machine and its feed."""

    def __init__(self, **bounds: int) -> None:
        self.machine = StateMachine()
        self.feed = Feed(**bounds)
        self.now_ms = 0

    def put(self, name: str = "a", value: bytes = b"v", count: int = 1) -> int:
        for _ in range(count):
            txn = Txn((Put(Key("Mesh", "", name), value), Put(Key("Mesh", "", name + "2"), value)))
            index = self.feed.head + 1
            applied = self.machine.apply(index, 1, encode_batch(0, [txn]))
            self.feed.publish(index, applied.events, self.machine.state, self.now_ms)
        return self.feed.head

    def nothing(self) -> None:
        self.feed.publish(self.feed.head + 1, (), self.machine.state, self.now_ms)


def drain(reader: Reader) -> list[FeedItem]:
    items = []
    while (item := reader.next()) is not None:
        items.append(item)
    return items


def indexes(items: list[FeedItem]) -> list[int]:
    return [item.index for item in items if isinstance(item, Commit)]


def test_a_reader_gets_each_commit_once_then_a_bookmark() -> None:
    writer = Writer()
    writer.put(count=3)
    reader = writer.feed.reader(1)
    items = drain(reader)
    assert indexes(items) == [2, 3] and items[-1] == Bookmark(3)
    assert isinstance(items[0], Commit) and len(items[0].events) == 2
    assert reader.next() is None
    writer.put()
    assert indexes(drain(reader)) == [4]


def test_a_snapshot_is_spliced_onto_the_live_events() -> None:
    writer = Writer()
    writer.put("a")
    reader = writer.feed.reader()
    writer.put("b")  # after the snapshot was taken, before it is read
    start, chunk, end, commit, mark = drain(reader)
    assert start == SnapshotStart(1, 2) and end == SnapshotEnd(1) and mark == Bookmark(2)
    assert isinstance(chunk, SnapshotChunk) and {r.key.name for r in chunk.records} == {"a", "a2"}
    assert isinstance(commit, Commit) and commit.index == 2


def test_large_snapshots_come_in_chunks() -> None:
    writer = Writer()
    many = limits.SNAPSHOT_CHUNK_RECORDS
    for number in range(many):
        writer.put(f"m{number}-")
    chunks = [item for item in drain(writer.feed.reader()) if isinstance(item, SnapshotChunk)]
    assert [len(chunk.records) for chunk in chunks] == [many, many]


def test_an_empty_store_has_an_empty_snapshot() -> None:
    assert drain(Feed().reader()) == [SnapshotStart(0, 0), SnapshotEnd(0), Bookmark(0)]


def test_entries_that_change_nothing_become_bookmarks() -> None:
    writer = Writer()
    reader = writer.feed.reader(0)
    drain(reader)
    writer.put()
    writer.nothing()
    writer.nothing()
    assert drain(reader) == [
        Commit(1, reader._node.commit.events if reader._node.commit else ()),
        Bookmark(3),
    ]


def test_retention_by_count() -> None:
    writer = Writer(commits_max=3)
    writer.put(count=10)
    assert (writer.feed.first_index, writer.feed.commits) == (7, 3)
    assert indexes(drain(writer.feed.reader(7))) == [8, 9, 10]
    with pytest.raises(Compacted, match="index 6 is compacted; the oldest that can be resumed from is 7"):
        writer.feed.reader(6)


def test_retention_by_age_and_by_bytes() -> None:
    writer = Writer(age_ms_max=100)
    writer.put(count=2)
    writer.now_ms = 90
    writer.put()
    writer.feed.expire(150)
    assert writer.feed.first_index == 2
    heavy = Writer(bytes_max=10_000)
    heavy.put(value=bytes(4_000), count=5)
    assert heavy.feed.commits == 1


def test_a_slow_reader_is_told_and_holds_nothing() -> None:
    writer = Writer(commits_max=5)
    slow = writer.feed.reader(0)
    writer.put(count=3)
    assert indexes([slow.next()]) == [1]  # type: ignore[list-item]
    writer.put(count=10)
    assert slow._node.next is None
    with pytest.raises(Compacted) as caught:
        drain(slow)
    assert (caught.value.asked, caught.value.first_index) == (1, 8)


def test_an_index_ahead_of_this_replica_is_waited_for() -> None:
    writer = Writer(commits_max=2)
    reader = writer.feed.reader(5)
    assert reader.next() is None
    writer.put(count=7)
    assert indexes(drain(reader)) == [6, 7]


def test_nothing_at_or_below_the_asked_index_is_given_while_waiting() -> None:
    writer = Writer()
    reader = writer.feed.reader(3)
    for _ in range(3):
        writer.put()
        assert indexes(drain(reader)) == []
    writer.put()
    assert indexes(drain(reader)) == [4]


def test_a_jump_gives_readers_the_snapshot_in_their_stream() -> None:
    writer = Writer()
    writer.put(count=5)
    behind, ahead = writer.feed.reader(1), writer.feed.reader(5)
    drain(ahead)
    writer.feed.jump(100, writer.machine.state, 0)
    for reader in (behind, ahead):
        items = drain(reader)
        assert items[0] == SnapshotStart(100, 2) and SnapshotEnd(100) in items
    with pytest.raises(Compacted):
        writer.feed.reader(5)
    writer.put()
    assert indexes(drain(writer.feed.reader(100))) == indexes(drain(behind)) == [101]


def test_compact_lets_go_up_to_an_index() -> None:
    writer = Writer()
    writer.put(count=5)
    writer.feed.compact(3)
    assert writer.feed.first_index == 3
    writer.feed.compact(99)
    assert writer.feed.first_index == 5


def test_indexes_at_or_below_the_head_are_ignored() -> None:
    writer = Writer()
    writer.put(count=3)
    writer.feed.publish(2, (), writer.machine.state, 0)
    assert writer.feed.head == 3


def fold(view: dict[Key, Record | bytes], item: FeedItem) -> None:
    if isinstance(item, SnapshotStart):
        view.clear()
    elif isinstance(item, SnapshotChunk):
        view.update({r.key: r.value for r in item.records})
    elif isinstance(item, Commit):
        for event in item.events:
            if event.op is Op.PUT:
                view[event.key] = event.value or b""
            else:
                view.pop(event.key, None)


@given(st.integers(0, 2**30))
def test_every_reader_ends_with_the_state_whatever_its_pace(seed: int) -> None:
    rng = random.Random(seed)
    writer = Writer(commits_max=rng.choice([2, 5, 50]))
    readers: list[tuple[Reader, dict[Key, Record | bytes]]] = []
    for _ in range(60):
        action = rng.random()
        if action < 0.5:
            writer.put(rng.choice("abcd"), rng.randbytes(2))
        elif action < 0.6:
            writer.nothing()
        elif action < 0.65:
            writer.feed.jump(writer.feed.head + 3, writer.machine.state, 0)
        elif action < 0.75:
            readers.append((writer.feed.reader(), {}))
        for at, (reader, view) in enumerate(readers):
            try:
                for _ in range(rng.randint(0, 3)):
                    if (item := reader.next()) is not None:
                        fold(view, item)
            except Compacted:
                readers[at] = (writer.feed.reader(), {})
    state = {r.key: r.value for r in writer.machine.state.scan()}
    for reader, view in readers:
        try:
            for item in drain(reader):
                fold(view, item)
        except Compacted:
            continue
        assert view == state


# --- the asyncio shell -------------------------------------------------------------------


async def take(items: AsyncIterator[FeedItem], count: int) -> list[FeedItem]:
    async with asyncio.timeout(30):
        return [await anext(items) for _ in range(count)]


async def test_subscribers_wake_when_something_is_published() -> None:
    writer = Writer()
    items = writer.feed.subscribe(0)
    assert await take(items, 1) == [Bookmark(0)]
    waiting = asyncio.create_task(take(items, 1))
    await asyncio.sleep(0)
    writer.put()
    assert indexes(await waiting) == [1]


async def test_silence_is_broken_by_bookmarks() -> None:
    writer = Writer()
    writer.put()
    items = writer.feed.subscribe(1, bookmark_s=0.001)
    assert await take(items, 3) == [Bookmark(1)] * 3


async def test_compacted_is_raised_by_the_first_item() -> None:
    writer = Writer(commits_max=1)
    writer.put(count=3)
    with pytest.raises(Compacted):
        await take(writer.feed.subscribe(0), 1)


async def test_close_ends_subscriptions() -> None:
    feed = Feed()
    waiting = asyncio.create_task(_collect(feed.subscribe(0)))
    await asyncio.sleep(0)
    feed.close()
    async with asyncio.timeout(30):
        assert await waiting == [Bookmark(0)]


async def _collect(items: AsyncIterator[FeedItem]) -> list[FeedItem]:
    return [item async for item in items]


async def test_a_long_backlog_does_not_hold_the_loop() -> None:
    writer = Writer()
    writer.put(count=1000)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    await take(writer.feed.subscribe(0), 1000)
    task.cancel()
    assert turns >= 10


# --- the past -----------------------------------------------------------------------------


def test_the_past_is_an_old_state_and_every_commit_since() -> None:
    writer = Writer()
    writer.put("a", count=3)
    writer.feed.compact(2)
    writer.put("b")
    writer.nothing()
    start, chunk, end, *rest = drain(writer.feed.reader(OLDEST))
    assert (start, end) == (SnapshotStart(2, 2), SnapshotEnd(2))
    assert isinstance(chunk, SnapshotChunk) and {record.version for record in chunk.records} == {2}
    assert [type(item) for item in rest] == [type(item) for item in drain(writer.feed.reader(2))]
    assert (indexes(rest), rest[-1]) == ([3, 4], Bookmark(5))


def test_so_much_of_the_past_is_replayed_and_no_more() -> None:
    writer = Writer(replay_max=2)
    writer.put("a", count=5)
    items = drain(writer.feed.reader(OLDEST))
    assert items[0] == SnapshotStart(3, 2)
    assert indexes(items) == [4, 5]


def test_a_past_that_is_let_go_while_it_is_read_is_compacted() -> None:
    writer = Writer(commits_max=3)
    writer.put("a", count=3)
    reader = writer.feed.reader(OLDEST)
    assert reader.next() == SnapshotStart(0, 0)
    writer.put("a", count=5)
    with pytest.raises(Compacted):
        drain(reader)
