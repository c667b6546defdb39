"""Three store processes over mutual TLS: what is acknowledged stays, whatever is killed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from raftstore.errors import StoreError, Unavailable, UnknownOutcome
from raftstore.port import Store
from raftstore.types import (
    Absent,
    Bookmark,
    Commit,
    Event,
    Key,
    Outcome,
    Put,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
    Txn,
)
from tests.process.cluster import DEADLINE_S, Cluster, StoreProcess

pytestmark = pytest.mark.process


def put(name: str, value: bytes = b"v", request_id: str = "") -> Txn:
    return Txn((Put(Key("Thing", "default", name), value),), request_id=request_id)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with Cluster(tmp_path) as made:
        made.start()
        await made.leader()
        yield made


async def names(store: Store, upto: int) -> set[str]:
    """The names of all records, as of `upto` or later, by one snapshot and what follows it."""
    found: set[str] = set()
    async with asyncio.timeout(DEADLINE_S):
        async for item in store.feed(None):
            if isinstance(item, SnapshotStart):
                found.clear()
            elif isinstance(item, SnapshotChunk):
                found |= {record.key.name for record in item.records}
            elif isinstance(item, Commit):
                found |= {event.key.name for event in item.events}
            if isinstance(item, SnapshotEnd | Commit | Bookmark) and item.index >= upto:
                return found
    raise AssertionError("the feed ended")


async def events(store: Store, upto: int) -> list[Event]:
    """All events from the beginning of the log to index `upto`."""
    found: list[Event] = []
    async with asyncio.timeout(DEADLINE_S):
        async for item in store.feed(0):
            if isinstance(item, Commit):
                found += item.events
            if not isinstance(item, SnapshotStart | SnapshotChunk) and item.index >= upto:
                return found
    raise AssertionError("the feed ended")


class Writer:
    """Writes name after name through one replica, and notes what it was told."""

    def __init__(self, node: StoreProcess, label: str) -> None:
        self.store, self.label = node.store, label
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.stopped = False

    async def run(self) -> None:
        number = 0
        while not self.stopped:
            name = f"{self.label}-{number}"
            number += 1
            txn = Txn((Put(Key("Thing", "default", name), b"v"),), (Absent(Key("Thing", "default", name)),))
            try:
                outcome = await self.store.submit(txn, timeout_s=10.0)
            except UnknownOutcome:
                self.unknown.append(name)
                continue
            except StoreError:
                await asyncio.sleep(0.02)
                continue
            assert outcome.applied, f"{name} was applied before its first time"
            self.acknowledged.append(name)


def check_writes(found: list[Event], writers: list[Writer]) -> None:
    times = Counter(event.key.name for event in found)
    acknowledged = [name for writer in writers for name in writer.acknowledged]
    assert [name for name in acknowledged if not times[name]] == [], "acknowledged writes are lost"
    assert [name for name, count in times.items() if count > 1] == [], "writes were applied twice"
    for writer in writers:
        order = [e.key.name for e in found if e.key.name in set(writer.acknowledged)]
        assert order == writer.acknowledged, "a client's writes changed their order"


async def test_a_write_through_any_replica_is_read_on_every_other(cluster: Cluster) -> None:
    for node in cluster:
        outcome = await node.store.submit(put(f"by-{node.id}"))
        assert outcome.applied
        for other in cluster:
            assert f"by-{node.id}" in await names(other.store, outcome.index)
    written = {event.key.name: event.via for event in await events(cluster["n1"].store, outcome.index)}
    assert written == {f"by-{n}": n for n in ("n1", "n2", "n3")}


async def test_a_linearizable_read_anywhere_sees_a_write_that_finished_before(cluster: Cluster) -> None:
    for number, node in enumerate([*cluster] * 3):
        outcome = await node.store.submit(put(f"w{number}"))
        for other in cluster:
            assert await other.store.read_index() >= outcome.index


async def test_the_same_request_through_two_replicas_applies_once(cluster: Cluster) -> None:
    first = await cluster["n1"].store.submit(put("once", b"1", "the-request"))
    second = await cluster["n2"].store.submit(put("once", b"1", "the-request"))
    both = await asyncio.gather(*(node.store.submit(put("race", b"1", "another")) for node in cluster))
    assert first == second and len(set(both)) == 1
    found = await events(cluster["n3"].store, both[0].index)
    assert [event.key.name for event in found] == ["once", "race"]


async def test_kill_the_leader_twice_during_writes(cluster: Cluster) -> None:
    """Nothing acknowledged is lost, nothing applied twice, order kept, through every replica."""
    writers = [Writer(node, f"{node.id}-{k}") for node in cluster for k in range(3)]
    running = [asyncio.create_task(writer.run()) for writer in writers]
    for _ in range(2):
        before = sum(len(writer.acknowledged) for writer in writers)

        async def progress(before: int = before) -> bool:
            return sum(len(writer.acknowledged) for writer in writers) > before + 100

        await cluster.until("writes go on", progress)
        leader = await cluster.leader()
        leader.kill()
        await cluster.leader()
        await cluster.until("writes go on without it", progress)
        leader.start()
    await cluster.until("writes go on at the end", progress)
    for writer in writers:
        writer.stopped = True
    await asyncio.gather(*running)
    index = await cluster.caught_up()
    everything = [await events(node.store, index) for node in cluster]
    check_writes(everything[0], writers)
    assert everything[0] == everything[1] == everything[2]


async def test_kill_all_during_writes_and_start_again(cluster: Cluster) -> None:
    writers = [Writer(node, node.id) for node in cluster]
    running = [asyncio.create_task(writer.run()) for writer in writers]

    async def enough() -> bool:
        return all(len(writer.acknowledged) > 50 for writer in writers)

    await cluster.until("writes are acknowledged", enough)
    for node in cluster:
        node.kill()
    for writer in writers:
        writer.stopped = True
    cluster.start()
    await asyncio.gather(*running)
    await cluster.leader()
    index = await cluster.caught_up()
    check_writes(await events(cluster["n1"].store, index), writers)


async def test_a_minority_refuses_and_says_why(cluster: Cluster) -> None:
    outcome = await cluster["n1"].store.submit(put("before"))
    leader, left = await cluster.leader(), await cluster.follower()
    (other,) = (node for node in cluster if node not in (leader, left))
    other.kill()
    leader.kill()  # last: the two that are left would elect one of them within milliseconds

    async def noticed() -> bool:
        status = await left.status()
        return status is not None and not status.has_quorum and status.leader is None

    await cluster.until("the quorum is known to be lost", noticed)
    with pytest.raises(Unavailable, match=rf"no quorum: of n1, n2, n3 only {left.id} can be reached"):
        await left.store.submit(put("minority"), timeout_s=5.0)
    with pytest.raises(Unavailable):
        await left.store.read_index(timeout_s=0.5)
    assert await names(left.store, outcome.index) == {"before"}, "what was applied is still readable"
    for node in cluster:
        if not node.running:
            node.start()
    await cluster.leader()
    outcome = await cluster.written(left, put("after"))
    assert await names(left.store, outcome.index) == {"before", "after"}


async def test_a_leader_that_loses_its_quorum_accepts_nothing_more(cluster: Cluster) -> None:
    leader = await cluster.leader()
    for node in cluster:
        if node is not leader:
            node.kill()
    with pytest.raises((UnknownOutcome, Unavailable)):
        await leader.store.submit(put("lost"), timeout_s=2.0)
    status = await leader.status()
    assert status is not None and status.role != "leader"


async def test_stopping_the_leader_hands_over_and_loses_no_time(cluster: Cluster) -> None:
    leader = await cluster.leader()
    other = await cluster.follower()
    assert leader.stop() == 0
    outcome = await cluster.written(other, put("after"))
    assert isinstance(outcome, Outcome)
    assert "is leader in term 2" in "".join(node.log() for node in cluster if node is not leader)


async def test_leadership_moves_on_request(cluster: Cluster) -> None:
    leader, follower = await cluster.leader(), await cluster.follower()

    async def is_led_by(node_id: str) -> None:
        async def knows() -> bool:
            status = await cluster["n1"].status()
            return status is not None and status.leader == node_id

        await cluster.until(f"n1 knows that {node_id} leads", knows)

    await is_led_by(leader.id)
    await cluster["n1"].store.transfer(follower.id)
    assert (await cluster.leader()).id == follower.id
    await is_led_by(follower.id)
    with pytest.raises(StoreError, match="not another voter"):
        await cluster["n1"].store.transfer("n9")


async def test_a_replica_joins_and_another_leaves(cluster: Cluster) -> None:
    outcome = await cluster["n1"].store.submit(put("before"))
    joiner = cluster.add_process("n0")
    joiner.start()
    await cluster["n2"].store.add("n0", f"127.0.0.1:{joiner.port}")
    assert "before" in await names(joiner.store, outcome.index)
    status = await cluster["n1"].store.status()
    assert [member.id for member in status.members] == ["n0", "n1", "n2", "n3"]
    if (await cluster.leader()).id == "n3":
        await cluster["n1"].store.transfer("n1")
    await cluster["n1"].store.remove("n3")
    cluster["n3"].kill()
    outcome = await joiner.store.submit(put("after"))
    assert await names(cluster["n2"].store, outcome.index) == {"before", "after"}
    joiner.kill()
    joiner.start()
    assert await names(joiner.store, outcome.index) == {"before", "after"}


async def test_a_follower_that_was_away_for_long_gets_a_snapshot(tmp_path: Path) -> None:
    async with Cluster(tmp_path, snapshot_entries=100, keep_entries=10) as cluster:
        cluster.start()
        away = await cluster.follower()
        outcome = await away.store.submit(put("first"))
        away.kill()
        store = (await cluster.leader()).store
        for number in range(400):
            outcome = await store.submit(put(f"w{number}", b"x" * 2000))
        away.start()
        assert len(await names(away.store, outcome.index)) == 401
        assert "installed the snapshot at" in away.log()
        await cluster.caught_up()
        away.kill()
        away.start()  # and it starts from what it was sent
        assert len(await names(away.store, outcome.index)) == 401


async def test_a_reader_goes_on_where_it_was_when_its_store_is_restarted(cluster: Cluster) -> None:
    node = await cluster.follower()
    seen: list[str] = []

    async def read() -> None:
        async for item in node.store.feed(0):
            if isinstance(item, Commit):
                seen.extend(event.key.name for event in item.events)
            if "last" in seen:
                return

    reading = asyncio.create_task(read())
    store = (await cluster.leader()).store
    for number in range(100):
        await store.submit(put(f"w{number}"))
        if number == 50:
            node.kill()
        if number == 60:
            node.start()
    await store.submit(put("last"))
    await asyncio.wait_for(reading, DEADLINE_S)
    assert seen == [f"w{number}" for number in range(100)] + ["last"]


# --- strangers at the port -----------------------------------------------------------------------


def knock(port: int, first: bytes, cluster: Cluster, certificate_of: str | None, tls: bool = True) -> None:
    """Connect, say something, and wait for the other side to hang up."""
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.settimeout(5)
        try:
            wire: socket.socket = plain
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                if certificate_of:
                    pair = [cluster.certs / f"{certificate_of}.{end}" for end in ("pem", "key")]
                    context.load_cert_chain(*pair)
                wire = context.wrap_socket(plain)
            wire.sendall(first)
            while wire.recv(65536):
                pass
        except (ssl.SSLError, ConnectionError):
            return


async def test_strangers_are_refused_with_one_line_and_the_cluster_goes_on(cluster: Cluster) -> None:
    target = cluster["n1"]
    hello = b"\x00\x00\x00\x05hello"
    for first, certificate_of, tls, why in (
        (b"\x16\x03\x01" + b"\xff" * 100, None, False, "refused peer at"),
        (b"GET / HTTP/1.1\r\n\r\n", None, False, "it speaks HTTP, not TLS"),
        (hello, None, True, "it shows no certificate"),
        (b"\xff\xff\xff\xff", "n2", True, "announces a frame of 4294967295 bytes"),
        (hello, "n1", True, "which is this replica itself"),
    ):
        before = target.log(10_000).count("refused")
        await asyncio.to_thread(knock, target.port, first, cluster, certificate_of, tls)

        async def told(why: str = why, before: int = before) -> bool:
            return why in target.log(10_000) and target.log(10_000).count("refused") > before

        await cluster.until(f"the log says {why!r}", told)
    assert (await target.store.submit(put("still"))).applied
    assert all(node.running for node in cluster)


async def test_a_replica_with_another_ones_certificate_is_not_let_in(cluster: Cluster) -> None:
    """n3 comes back with n2's certificate in place of its own: its own check says so first."""
    cluster["n3"].kill()
    for end in ("pem", "key"):
        (cluster.certs / f"n3.{end}").write_bytes((cluster.certs / f"n2.{end}").read_bytes())
    cluster["n3"].start()
    assert cluster["n3"].wait() == 83
    assert "/n2, and this replica is" in cluster["n3"].log(1)
