"""The API of a real three-replica cluster: any replica answers, and failures lose nothing."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import aiohttp
import pytest

from cp.up.client import Api, ApiError
from cp.up.local import LocalMesh, Replica
from cp.up.story import until
from tests.process.conftest import led, ready

pytestmark = pytest.mark.process

WRITERS = 4
KILL_AFTER = 40  # acknowledged writes
WITHIN_S = 60.0


def timeout_policy(name: str, seconds: int = 5) -> dict[str, Any]:
    to = {"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": f"{seconds}s"}}
    return {
        "type": "MeshTimeout",
        "mesh": "default",
        "name": name,
        "spec": {"targetRef": {"kind": "Mesh"}, "to": [to]},
    }


def path(name: str) -> str:
    return f"/meshes/default/meshtimeouts/{name}"


async def default_mesh(api: Api, cluster: LocalMesh) -> None:
    async def there() -> bool:
        try:
            await api.get(cluster.replicas[0].api, "/meshes/default")
        except ApiError as error:
            assert error.status == 404
            return False
        return True

    await until("the default mesh", there)


async def test_every_replica_takes_writes_and_every_other_reads_them(cluster: LocalMesh, api: Api) -> None:
    await default_mesh(api, cluster)
    for writer in cluster.replicas:
        name = f"through-{writer.name}"
        index = await api.put(writer.api, path(name), timeout_policy(name))
        for reader in cluster.replicas:
            found = await api.get(reader.api, f"{path(name)}?index={index}")
            assert found["name"] == name


async def leader_of(cluster: LocalMesh, api: Api) -> Replica:
    leader = await api.leader([replica.api for replica in cluster.running_replicas()])
    return next(replica for replica in cluster.replicas if replica.name == leader)


class Writers:
    """Clients that write through any replica, and retry with the same request id until they know."""

    def __init__(self, cluster: LocalMesh) -> None:
        self._cluster = cluster
        self.acknowledged: dict[str, int] = {}
        self.stop = asyncio.Event()

    async def run(self, number: int) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            count = 0
            while not self.stop.is_set():
                name = f"w{number}-{count}"
                self.acknowledged[name] = await self._write(session, name, count)
                count += 1

    async def _write(self, session: aiohttp.ClientSession, name: str, count: int) -> int:
        headers = {"X-Raftmesh-Request-Id": str(uuid.uuid4())}
        attempt = count
        while True:
            replicas = self._cluster.running_replicas()
            url = replicas[attempt % len(replicas)].api + path(name)
            attempt += 1
            try:
                async with session.put(url, json=timeout_policy(name), headers=headers) as response:
                    if response.status in (200, 201):
                        return int(response.headers["X-Raftmesh-Index"])
                    assert response.status in (503, 504), await response.text()
            except (aiohttp.ClientError, TimeoutError):
                pass  # the outcome is unknown: the same request again, through the next replica
            await asyncio.sleep(0.02)


async def test_a_leader_killed_under_writes_loses_none_and_repeats_none(cluster: LocalMesh, api: Api) -> None:
    await default_mesh(api, cluster)
    writers = Writers(cluster)
    tasks = [asyncio.create_task(writers.run(number)) for number in range(WRITERS)]

    async def written(count: int) -> bool:
        for task in tasks:
            if task.done():
                task.result()
        return len(writers.acknowledged) >= count

    await until("some writes", lambda: written(KILL_AFTER))
    victim = await leader_of(cluster, api)
    await victim.process.kill()
    before = len(writers.acknowledged)
    await until("writes go on without the leader", lambda: written(before + KILL_AFTER))
    writers.stop.set()
    await asyncio.wait_for(asyncio.gather(*tasks), WITHIN_S)

    await victim.process.start()
    await ready(api, cluster.replicas)
    last = max(writers.acknowledged.values())
    for replica in cluster.replicas:
        await assert_all_there(api, replica, writers.acknowledged, last)


async def assert_all_there(api: Api, replica: Replica, acknowledged: dict[str, int], index: int) -> None:
    """Each write is there, once: creation and modification are one event, so none was applied twice."""
    found: dict[str, dict[str, Any]] = {}
    offset: str | None = "0"
    while offset is not None:
        page = await api.get(
            replica.api, f"/meshes/default/meshtimeouts?size=1000&offset={offset}&index={index}"
        )
        found.update({item["name"]: item for item in page["items"]})
        offset = page["next"] and str(page["next"]).partition("offset=")[2].partition("&")[0]
    missing = set(acknowledged) - set(found)
    assert missing == set(), f"{replica.name} lost {sorted(missing)[:5]}"
    twice = [name for name in acknowledged if found[name]["creationTime"] != found[name]["modificationTime"]]
    assert twice == [], f"{replica.name} applied twice: {twice[:5]}"


async def test_the_same_request_through_another_replica_is_applied_once(cluster: LocalMesh) -> None:
    headers = {"X-Raftmesh-Request-Id": "the-same"}
    answers = []
    async with Api() as api:
        await default_mesh(api, cluster)
    async with aiohttp.ClientSession() as session:
        for replica in cluster.replicas:
            url = replica.api + path("once")
            async with session.put(url, json=timeout_policy("once"), headers=headers) as response:
                answers.append((response.status, response.headers["X-Raftmesh-Index"]))
    assert len(set(answers)) == 1, answers
    assert answers[0][0] == 201


async def test_after_kill_9_of_all_three_everything_is_there(cluster: LocalMesh, api: Api) -> None:
    await default_mesh(api, cluster)
    acknowledged = {}
    for number in range(20):
        replica = cluster.replicas[number % 3]
        name = f"n{number}"
        acknowledged[name] = await api.put(replica.api, path(name), timeout_policy(name))
    await asyncio.gather(*(replica.process.kill() for replica in cluster.replicas))
    for replica in cluster.replicas:
        await replica.process.start()
    await ready(api, cluster.replicas)
    for replica in cluster.replicas:
        await assert_all_there(api, replica, acknowledged, max(acknowledged.values()))


async def test_a_minority_says_why_it_takes_no_writes_and_still_reads(cluster: LocalMesh, api: Api) -> None:
    await default_mesh(api, cluster)
    index = await api.put(cluster.replicas[0].api, path("before"), timeout_policy("before"))
    survivor, *others = cluster.replicas
    await api.get(survivor.api, f"{path('before')}?index={index}")
    for replica in others:
        await replica.process.kill()

    async def refused() -> bool:
        try:
            await api.put(survivor.api, path("after"), timeout_policy("after"))
        except ApiError as error:
            others_named = f"ask {' or '.join(replica.name for replica in others)}" in str(error)
            return error.status == 503 and "no quorum" in str(error) and others_named
        return False

    await until("a 503 that names the quorum", refused)
    assert (await api.get(survivor.api, path("before")))["name"] == "before"
    assert not (await api.get(survivor.api, "/cluster"))["hasQuorum"]

    await others[0].process.start()
    await until("a leader again", led(api, [survivor, others[0]]))
    assert await api.put(survivor.api, path("after"), timeout_policy("after")) > index
