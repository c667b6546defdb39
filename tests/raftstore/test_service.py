"""The socket between a store and its workers: service.py and client.py, over a real replica."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from raftstore.client import SocketStore
from raftstore.embedded import EmbeddedStore
from raftstore.errors import Compacted, Overloaded, TooLarge, Unavailable, UnknownOutcome
from raftstore.frames import encode
from raftstore.limits import VALUE_BYTES_MAX
from raftstore.members import Refused
from raftstore.service import Service
from raftstore.settings import StoreConfig
from raftstore.transport import AddressInUse
from raftstore.types import Bookmark, Commit, FeedItem, SnapshotEnd, SnapshotStart
from tests.raftstore.replicas import DEADLINE_S, put, read, until


class Served:
    """A cluster of one behind a socket, which can be taken down and up again."""

    def __init__(self, root: Path) -> None:
        self.path = str(root / "store.sock")
        self.config = StoreConfig(node_id="n1", data_dir=str(root / "data"), snapshot_entries=100_000)
        self.client = SocketStore(self.path)

    async def up(self) -> None:
        self.embedded = await EmbeddedStore.open(self.config)
        self.service = Service(self.embedded.replica, self.path)
        await self.service.start()

    async def down(self) -> None:
        await self.service.close()
        await self.embedded.close()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path)
    await made.up()
    yield made
    await made.client.close()
    await made.down()


async def test_it_is_a_store_like_any_other(served: Served) -> None:
    outcomes = await asyncio.gather(*(served.client.submit(put(f"w{n}")) for n in range(200)))
    index = max(outcome.index for outcome in outcomes)
    assert await served.client.read_index() >= index
    records, events = await read(served.client, index, after=0)
    assert len(records) == 200
    assert [event.key.name for event in events] == [f"w{n}" for n in range(200)], "in the order of submitting"
    assert {event.via for event in events} == {"n1"}
    assert await served.client.status() == await served.embedded.status()


async def test_the_socket_is_the_users_alone(served: Served) -> None:
    assert stat.S_IMODE(os.stat(served.path).st_mode) == 0o600


async def test_errors_arrive_as_what_they_are(served: Served) -> None:
    with pytest.raises(TooLarge):
        await served.client.submit(put("big", b"x" * (VALUE_BYTES_MAX + 1)))
    with pytest.raises(Refused, match="not another voter"):
        await served.client.transfer("n9")
    with pytest.raises(Refused, match="node id 'a b'"):
        await served.client.add("a b", "h:1")
    outcome = await served.client.submit(put("a"))
    served.embedded.replica.feed_log.compact(outcome.index)
    with pytest.raises(Compacted):
        await anext(served.client.feed(0))


async def test_requests_wait_for_a_store_that_is_being_restarted(served: Served) -> None:
    await served.client.submit(put("before"))
    await served.down()
    writing = asyncio.create_task(served.client.submit(put("during"), timeout_s=15.0))
    await asyncio.sleep(0)
    await served.up()
    assert (await writing).applied


async def test_without_a_store_a_request_ends_at_its_deadline(tmp_path: Path) -> None:
    client = SocketStore(str(tmp_path / "nobody.sock"))
    with pytest.raises(Unavailable, match="cannot be reached"):
        await client.submit(put("a"), timeout_s=0.2)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await client.read_index(timeout_s=0.2)
    await client.close()
    with pytest.raises(Unavailable, match="closed"):
        await client.status()


async def test_a_store_that_is_there_and_does_not_answer_is_told_apart(tmp_path: Path) -> None:
    async def greet_and_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(("hello", 1, "n1", "c"), 1_000))
        await reader.read()
        writer.close()

    path = str(tmp_path / "mute.sock")
    server = await asyncio.start_unix_server(greet_and_wait, path)
    client = SocketStore(path)
    reading, writing = asyncio.create_task(client.read_index()), asyncio.create_task(client.submit(put("a")))
    await until(lambda: len(client._requests) == 2, "both ask")
    await until(lambda: all(request.sent for request in client._requests.values()), "they have left")
    for request in client._requests.values():
        client._late(request)
    with pytest.raises(Unavailable, match="did not answer in time"):
        await reading
    with pytest.raises(UnknownOutcome, match="did not answer in time"):
        await writing
    waiting = asyncio.create_task(client.submit(put("b")))
    await asyncio.sleep(0)  # it waits for its turn to be sent
    client._late(next(iter(client._requests.values())))
    with pytest.raises(Overloaded, match="1 requests wait for their turn"):
        await waiting
    server.close()
    await client.close()


async def test_a_feed_goes_on_where_it_was_after_a_restart(served: Served) -> None:
    items: list[FeedItem] = []

    async def follow() -> None:
        async for item in served.client.feed(0):
            items.append(item)

    following = asyncio.create_task(follow())
    for number in range(5):
        await served.client.submit(put(f"a{number}"))
    await until(lambda: sum(isinstance(item, Commit) for item in items) == 5, "five commits")
    await served.down()
    await served.up()
    for number in range(5):
        await served.client.submit(put(f"b{number}"))
    await until(lambda: sum(isinstance(item, Commit) for item in items) >= 10, "ten commits")
    names = [event.key.name for item in items if isinstance(item, Commit) for event in item.events]
    assert names == [f"a{n}" for n in range(5)] + [f"b{n}" for n in range(5)]
    following.cancel()


async def test_a_feed_that_began_with_a_snapshot_gets_another_when_it_must(served: Served) -> None:
    items: list[FeedItem] = []

    async def follow() -> None:
        async for item in served.client.feed(None):
            items.append(item)

    following = asyncio.create_task(follow())
    await served.client.submit(put("seen"))
    await until(lambda: any(isinstance(item, Commit) for item in items), "the first commit")
    await served.service.close()  # the worker's view of the store is cut off
    for number in range(30):
        await served.embedded.submit(put(f"unseen{number}"))
    served.embedded.replica.feed_log.compact(served.embedded.replica.feed_log.head)
    served.service = Service(served.embedded.replica, served.path)
    await served.service.start()
    await until(lambda: sum(isinstance(item, SnapshotEnd) for item in items) == 2, "a second snapshot")
    start = [item for item in items if isinstance(item, SnapshotStart)][-1]
    assert start.records == 31
    following.cancel()


async def test_a_reader_that_does_not_read_holds_up_nobody(served: Served) -> None:
    lazy = served.client.feed(0)
    outcomes = await asyncio.gather(*(served.client.submit(put(f"w{n}", b"x" * 20_000)) for n in range(500)))
    assert isinstance(await anext(lazy), Commit | Bookmark)
    assert (await served.client.submit(put("after"))).applied
    count = 1
    async for item in lazy:
        count += 1
        if item.index > max(outcome.index for outcome in outcomes):  # type: ignore[union-attr]
            break
    await lazy.aclose()  # type: ignore[attr-defined]


async def test_what_is_no_request_closes_that_connection_only(served: Served) -> None:
    for bad in (b"\xff\xff\xff\xff", encode(("x",), 100), encode((1, "drop everything"), 100)):
        reader, writer = await asyncio.open_unix_connection(served.path)
        writer.write(bad)
        async with asyncio.timeout(30):
            await reader.read()
        writer.close()
    assert (await served.client.submit(put("a"))).applied


async def test_a_dead_socket_is_replaced_and_a_live_one_is_not(served: Served, tmp_path: Path) -> None:
    with pytest.raises(AddressInUse, match=r"store\.sock"):
        await Service(served.embedded.replica, served.path).start()
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as leftover:
        leftover.bind(str(dead))
    service = Service(served.embedded.replica, str(dead))
    await service.start()
    await service.close()
    assert not dead.exists()


async def test_a_commit_is_encoded_once_for_all_who_read_it(served: Served) -> None:
    first, other = Commit(7, ()), Commit(8, ())
    frame = served.service.item_frame(0, first)
    assert served.service.item_frame(0, first) is frame
    for asked in ((1, first), (0, other), (0, first)):
        again = served.service.item_frame(*asked)
        assert again is not frame and (again == frame) == (asked == (0, first))


async def test_a_request_that_fails_unexpectedly_ends_its_connection(served: Served) -> None:
    """Else whoever asked would wait for ever."""
    await served.client.submit(put("a"))
    replica = served.embedded.replica
    machine, replica.machine = replica.machine, None  # type: ignore[assignment]
    try:
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(Unavailable):
                [_ async for _ in served.client.backup()]
    finally:
        replica.machine = machine
    assert (await served.client.status()).leader == "n1"
