"""The in-memory store keeps the port's promises."""

from __future__ import annotations

import asyncio

import pytest

from raftstore.errors import TooLarge, Unavailable
from raftstore.limits import VALUE_BYTES_MAX
from raftstore.memory import MemoryStore
from raftstore.port import Store
from raftstore.types import Absent, Bookmark, Commit, Key, Outcome, Put, SnapshotStart, Txn

K = Key("Mesh", "", "default")


def put(value: bytes = b"v", request_id: str = "") -> Txn:
    return Txn((Put(K, value),), request_id=request_id)


async def test_it_is_a_store_and_writes_are_seen_in_state_and_feed() -> None:
    store: Store = MemoryStore(clock_ms=lambda: 42)
    assert await store.submit(put()) == Outcome(1)
    assert await store.read_index() == 1
    items = store.feed(0)
    commit = await anext(items)
    assert isinstance(commit, Commit) and commit.events[0].time_ms == 42
    assert await anext(items) == Bookmark(1)
    assert await anext(store.feed()) == SnapshotStart(1, 1)
    status = await store.status()
    assert (status.role, status.leader, status.has_quorum, status.applied_index) == (
        "leader",
        "memory",
        True,
        1,
    )


async def test_a_failed_guard_is_an_outcome_and_a_bookmark() -> None:
    store = MemoryStore()
    await store.submit(put())
    outcome = await store.submit(Txn((Put(K, b"x"),), (Absent(K),)))
    assert outcome == Outcome(2, 0, 1)
    assert await anext(store.feed(1)) == Bookmark(2)


async def test_retries_apply_once() -> None:
    store = MemoryStore()
    first = await store.submit(put(b"1", "r"))
    await store.submit(put(b"2"))
    assert await store.submit(put(b"1", "r")) == first
    record = store.state.get(K)
    assert record is not None and record.value == b"2"


async def test_refusing_and_limits() -> None:
    store = MemoryStore()
    with pytest.raises(TooLarge):
        await store.submit(put(bytes(VALUE_BYTES_MAX + 1)))
    store.refuse = Unavailable("no quorum", leader=None)
    with pytest.raises(Unavailable, match="no quorum"):
        await store.submit(put())
    assert not (await store.status()).has_quorum
    assert store.state.index == 0


async def test_close_ends_feeds_and_refuses_writes() -> None:
    store = MemoryStore()
    items = store.feed(0)
    assert await anext(items) == Bookmark(0)
    waiting = asyncio.create_task(anext(items, None))
    await asyncio.sleep(0)
    await store.close()
    async with asyncio.timeout(30):
        assert await waiting is None
    with pytest.raises(Unavailable, match="closed"):
        await store.submit(put())
