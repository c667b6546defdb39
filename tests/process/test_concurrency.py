"""Many clients through three real replicas: no update is lost, no proxy is orphaned, everybody sees their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import pytest_asyncio
import yaml

from cp.cli import main
from cp.cli.contexts import ControlPlane
from cp.cli.following import Follower
from cp.up.client import Api
from cp.up.local import LocalMesh
from dp.ports import free_ports
from tests.process.conftest import ready
from tests.process.test_cluster_api import default_mesh, path, timeout_policy

pytestmark = [pytest.mark.process, pytest.mark.asyncio(loop_scope="module")]

INCREMENTERS = 6
INCREMENTS = 8
MESHES = 8
JOINING = 4
CLIENTS = 1_000
READ_YOUR_WRITES_S_MAX = 20.0
WATCHED = 60
KILL_AFTER = 20
WITHIN_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[Api]:
    async with Api() as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory, api: Api) -> AsyncIterator[LocalMesh]:
    """One cluster for all tests of this file: they use names of their own, and the last two kill."""
    mesh = LocalMesh(tmp_path_factory.mktemp("mesh") / "mesh", ports=free_ports(LocalMesh.PORTS))
    try:
        for replica in mesh.replicas:
            await replica.process.start()
        await ready(api, mesh.replicas)
        await default_mesh(api, mesh)
        yield mesh
    finally:
        await mesh.stop()


def seconds_of(document: Any) -> int:
    return int(document["spec"]["to"][0]["default"]["connectionTimeout"].removesuffix("s"))


async def lines(session: aiohttp.ClientSession, url: str) -> list[Any]:
    async with session.get(url) as response:
        assert response.status == 200, await response.text()
        return [orjson.loads(line) async for line in response.content]


async def test_with_if_match_no_update_is_lost(cluster: LocalMesh, api: Api) -> None:
    first = await api.put(cluster.replicas[0].api, path("counter"), timeout_policy("counter", 1))
    conflicts = 0

    async def increment(session: aiohttp.ClientSession, number: int) -> int:
        """Read anywhere, write anywhere else; the index of the write."""
        nonlocal conflicts
        for attempt in range(1_000):
            reader, writer = (cluster.replicas[(number + attempt + n) % 3].api for n in (0, 1))
            headers = {"X-Raftmesh-Min-Index": str(first)}
            async with session.get(reader + path("counter"), headers=headers) as response:
                found, etag = await response.json(), response.headers["ETag"]
            body = timeout_policy("counter", seconds_of(found) + 1)
            sent = {"If-Match": etag, "X-Raftmesh-Reason": f"client {number}"}
            async with session.put(writer + path("counter"), json=body, headers=sent) as response:
                if response.status == 200:
                    return int(response.headers["X-Raftmesh-Index"])
                assert response.status == 412, await response.text()
                conflicts += 1
        raise AssertionError("never alone")

    async def client(session: aiohttp.ClientSession, number: int) -> list[int]:
        return [await increment(session, number) for _ in range(INCREMENTS)]

    async with aiohttp.ClientSession() as session:
        written = await asyncio.gather(*(client(session, number) for number in range(INCREMENTERS)))
        last = max(max(each) for each in written)
        counted = await api.get(cluster.replicas[2].api, f"{path('counter')}?index={last}")
        assert seconds_of(counted) == 1 + INCREMENTERS * INCREMENTS
        assert conflicts > 0, "they were never at it at the same time"
        events = await lines(
            session, f"{cluster.replicas[1].api}/history?format=jsonl&name=counter&since={first}&index={last}"
        )
    assert sorted(index for each in written for index in each) == [event["index"] for event in events]
    assert [e["previousVersion"] for e in events] == [first, *(e["index"] for e in events[:-1])]
    # Through whichever replica a write came to the leader, who, why and which request is known.
    assert {event["via"] for event in events} == {replica.name for replica in cluster.replicas}
    assert {event["actor"] for event in events} == {"mesh-system:admin"}
    assert {event["reason"] for event in events} == {f"client {n}" for n in range(INCREMENTERS)}
    assert len({event["requestId"] for event in events}) == len(events)


def dataplane(mesh: str, name: str) -> dict[str, Any]:
    inbound = {"port": 80, "tags": {"kuma.io/service": "web"}}
    networking = {"address": "10.0.0.1", "inbound": [inbound]}
    return {"type": "Dataplane", "mesh": mesh, "name": name, "networking": networking}


async def test_a_mesh_is_deleted_or_joined_but_never_both(cluster: LocalMesh, api: Api) -> None:
    outcomes: list[int] = []

    async def contest(session: aiohttp.ClientSession, number: int) -> None:
        mesh, replicas = f"m{number}", [replica.api for replica in cluster.replicas]
        body = {"type": "Mesh", "name": mesh, "skipCreatingInitialPolicies": ["*"]}
        index = await api.put(replicas[0], f"/meshes/{mesh}", body)

        async def join(n: int) -> int:
            url = f"{replicas[n % 3]}/meshes/{mesh}/dataplanes/d{n}"
            await asyncio.sleep(0.002 * (number % 4))  # not always the same order
            async with session.put(url, json=dataplane(mesh, f"d{n}")) as response:
                assert response.status in (201, 400), await response.text()
                return response.status

        async def delete() -> int:
            headers = {"X-Raftmesh-Min-Index": str(index)}
            async with session.delete(f"{replicas[2]}/meshes/{mesh}", headers=headers) as response:
                assert response.status in (200, 400), await response.text()
                return response.status

        deleted, *joined = await asyncio.gather(delete(), *(join(n) for n in range(JOINING)))
        # Whoever was first: a mesh with a proxy is not deleted, a mesh that is gone is not joined.
        assert (deleted == 200) == (201 not in joined), (deleted, joined)
        outcomes.append(deleted)

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(contest(session, number) for number in range(MESHES)))
        events = await lines(
            session, f"{cluster.replicas[0].api}/history?format=jsonl&consistency=linearizable"
        )
    assert len(outcomes) == MESHES
    assert_never_orphaned(events)


def assert_never_orphaned(events: list[dict[str, Any]]) -> None:
    """At no index is there a Dataplane whose Mesh is not there."""
    there: set[tuple[str, str, str]] = set()
    for at, event in enumerate(events):
        key = (event["type"], event["mesh"], event["name"])
        if event["op"] == "put":
            there.add(key)
        else:
            there.discard(key)
        if at + 1 < len(events) and events[at + 1]["index"] == event["index"]:
            continue  # the transaction goes on
        meshes = {name for kind, _, name in there if kind == "Mesh"}
        orphans = [key for key in there if key[0] == "Dataplane" and key[1] not in meshes]
        assert orphans == [], f"at index {event['index']}"


async def test_a_thousand_clients_see_what_they_wrote(cluster: LocalMesh) -> None:
    slots = asyncio.Semaphore(200)  # connections of this one process

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        writer, reader = (cluster.replicas[(number + n) % 3].api for n in (0, 1))
        name, body = f"c{number}", timeout_policy(f"c{number}", 1 + number)
        async with slots:
            async with session.put(writer + path(name), json=body) as response:
                assert response.status == 201, await response.text()
                index = response.headers["X-Raftmesh-Index"]
            headers = {"X-Raftmesh-Min-Index": index}
            async with session.get(reader + path(name), headers=headers) as response:
                assert response.status == 200, f"client {number}: {await response.text()}"
                assert seconds_of(await response.json()) == 1 + number

    began = time.monotonic()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        await asyncio.gather(*(client(session, number) for number in range(CLIENTS)))
    took_s = time.monotonic() - began
    assert took_s < READ_YOUR_WRITES_S_MAX, f"{CLIENTS} writes and reads took {took_s:.1f} s"


WATCHES: tuple[tuple[str, dict[str, str]], ...] = (
    ("/history", {}),
    ("/history", {"mesh": "default"}),
    ("/meshes/default/meshtimeouts", {}),
)


async def test_watches_go_on_at_another_replica(cluster: LocalMesh, api: Api) -> None:
    """The replica that serves the streams is killed in the middle: nothing is missing, nothing twice.

    Everything, a mesh, and a kind. It leaves one replica dead, for the test after it.
    """
    served, *others = cluster.replicas
    since = await api.put(served.api, path("before"), timeout_policy("before"))
    addresses = tuple(replica.api for replica in cluster.replicas)
    seen: list[list[tuple[int, str]]] = [[] for _ in WATCHES]

    async def watch(number: int) -> None:
        where, query = WATCHES[number]
        follower = Follower(ControlPlane(addresses=addresses), where, query | {"since": str(since)})
        async for message in follower.messages():
            events = orjson.loads(message.data)["events"]
            seen[number] += [(e["index"], e["name"]) for e in events if e["name"].startswith("watched-")]
            if len(seen[number]) >= WATCHED:
                return

    watching = [asyncio.create_task(watch(number)) for number in range(len(WATCHES))]
    written = []
    for n in range(WATCHED):
        name = f"watched-{n}"
        written.append((await api.put(others[n % 2].api, path(name), timeout_policy(name)), name))
        if n == KILL_AFTER:
            async with asyncio.timeout(WITHIN_S):
                while min(map(len, seen)) < KILL_AFTER // 2:  # it does serve them
                    await asyncio.sleep(0.01)
            await served.process.kill()
    await asyncio.wait_for(asyncio.gather(*watching), WITHIN_S)
    assert seen == [written] * len(WATCHES)


async def test_the_command_line_goes_on_with_a_dead_replica(
    cluster: LocalMesh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first of the addresses is one that nobody answers at."""
    if cluster.replicas[0].process.running:
        await cluster.replicas[0].process.kill()
    addresses = [part for replica in cluster.replicas for part in ("--cp-address", replica.api)]
    file = tmp_path / "t.yaml"
    file.write_text(yaml.safe_dump(timeout_policy("by-hand", 7)))

    async def ran(*arguments: str) -> str:
        assert await asyncio.to_thread(main, [*arguments, *addresses]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    assert 'name="by-hand" Created' in await ran("apply", "-f", str(file), "--reason", "a dead replica")
    assert await ran("plan", "-f", str(file)) == 'keep MeshTimeout "by-hand" in mesh "default"\n'
    assert ": a dead replica\n" in await ran("history", "meshtimeout", "by-hand")
    exported = list(yaml.safe_load_all(await ran("export", "--profile", "all")))
    assert "by-hand" in {document["name"] for document in exported}
    assert "1 written back" in await ran("rollback", "meshtimeout", "by-hand", "--to", "5", "--yes")
