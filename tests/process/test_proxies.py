"""Real Envoys on a real cluster: registration, moves between replicas, and what is sent then."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml

from cp.up.client import Api, ApiError
from cp.up.local import LocalMesh, Replica, Service
from cp.up.story import ROUTE_PATH, route_to, until
from cp.up.traffic import Traffic
from dp.ports import free_ports
from tests.process.conftest import ready

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Api]:
    async with Api() as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory, client: Api) -> AsyncIterator[LocalMesh]:
    """The whole demo mesh, answering requests; proxies that left are taken away after a second."""
    mesh = LocalMesh(tmp_path_factory.mktemp("mesh") / "mesh", ports=free_ports(LocalMesh.PORTS))
    for replica in mesh.replicas:
        config = yaml.safe_load(replica.config_path.read_text())
        config["xdsServer"] = {"dataplaneDeregistrationDelay": "1s"}
        replica.config_path.write_text(yaml.safe_dump(config))
        await replica.process.start()
    await ready(client, mesh.replicas)
    for service in mesh.services:
        await mesh.start_service(service, client)
    yield mesh
    await mesh.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def running(started: LocalMesh, client: Api) -> LocalMesh:
    """The mesh as each test wants to find it, whatever the one before did to it."""
    for process in started.processes():
        if not process.running:
            await process.start()
    await ready(client, started.replicas)
    async with Traffic(started.url, workers=1) as probe:

        async def both() -> bool:
            return set(probe.tally.versions_since(time.monotonic() - 1.0)) >= {"v1", "v2"}

        with contextlib.suppress(ApiError):
            await client.delete(started.replicas[0].api, ROUTE_PATH)
        await until("both backends answer through the proxies", both)
    await until("all proxies are connected", lambda: all_connected(client, started))
    return started


async def all_connected(api: Api, mesh: LocalMesh) -> bool:
    return len(await streams(api, mesh.replicas)) == len(mesh.services)


async def streams(api: Api, replicas: list[Replica]) -> dict[str, dict[str, Any]]:
    """proxy -> its stream, with the replica that serves it."""
    found = {}
    for replica in replicas:
        for stream in await api.get(replica.api, "/xds/streams"):
            found[stream["proxy"]] = {**stream, "replica": replica.name}
    return found


async def exists(api: Api, replica: Replica, path: str) -> bool:
    try:
        await api.get(replica.api, path)
    except ApiError as error:
        assert error.status == 404
        return False
    return True


async def test_a_proxy_that_moves_is_sent_nothing_it_has(running: LocalMesh, client: Api) -> None:
    before = await streams(client, running.replicas)
    assert set(before) == {"default.web", "default.backend-1", "default.backend-2"}
    assert all(stream["rejections"] == [] for stream in before.values())
    victim = next(each for each in running.replicas if each.name == before["default.web"]["replica"])
    moving = [proxy for proxy, stream in before.items() if stream["replica"] == victim.name]
    survivors = [replica for replica in running.replicas if replica is not victim]
    async with Traffic(running.url, workers=2) as traffic:
        await victim.process.kill()

        async def moved() -> bool:
            now = await streams(client, survivors)
            return all(proxy in now and now[proxy]["subscribedTypes"] >= 2 for proxy in moving)

        await until("the proxies are connected elsewhere", moved)
        after = await streams(client, survivors)
        assert {proxy: after[proxy]["resourcesSent"] for proxy in moving} == dict.fromkeys(moving, 0)
        assert all(after[proxy]["resourcesKnown"] > 0 for proxy in moving)
        assert traffic.tally.failed == 0, list(traffic.tally.failures)


async def test_a_change_is_sent_acknowledged_and_moves_traffic(running: LocalMesh, client: Api) -> None:
    async with Traffic(running.url, workers=2) as traffic:
        for number, version in enumerate(("v2", "v1", "v2")):
            await client.put(running.replicas[number].api, ROUTE_PATH, route_to(version))

            async def moved(version: str = version) -> bool:
                return set(traffic.tally.versions_since(time.monotonic() - 0.3)) == {version}

            await until(f"all traffic at {version}", moved)
        assert traffic.tally.failed == 0, list(traffic.tally.failures)

    async def acknowledged() -> bool:
        found = (await streams(client, running.replicas)).values()
        return all(each["responsesAcknowledged"] == each["responsesSent"] for each in found)

    await until("everything sent is acknowledged", acknowledged)
    assert all(each["responsesRejected"] == 0 for each in (await streams(client, running.replicas)).values())


async def test_a_proxy_that_leaves_in_order_is_deregistered(running: LocalMesh, client: Api) -> None:
    leaving: Service = running.services[1]
    path = f"/meshes/default/dataplanes/{leaving.name}"
    assert await exists(client, running.replicas[0], path)
    async with Traffic(running.url, workers=2) as traffic:
        await leaving.proxy.stop()

        async def gone() -> bool:
            return not any([await exists(client, replica, path) for replica in running.replicas])

        await until("its Dataplane is gone from every replica", gone)
        seen = time.monotonic()

        async def elsewhere() -> bool:
            return set(traffic.tally.versions_since(seen)) == {"v1"}

        await until("traffic goes to the other instance", elsewhere)

    await leaving.proxy.start()

    async def back() -> bool:
        return await exists(client, running.replicas[2], path)

    await until("it is registered again", back)


async def test_proxies_stay_while_replicas_restart(running: LocalMesh, client: Api) -> None:
    """A control plane that goes away, in order or not, takes no proxy away."""
    path = "/meshes/default/dataplanes/web"
    async with Traffic(running.url, workers=2) as traffic:
        for replica in running.replicas:
            await replica.process.stop()
            await replica.process.start()
            await ready(client, running.replicas)
            assert await exists(client, replica, path)

        await until("all proxies are connected", lambda: all_connected(client, running))
        assert traffic.tally.failed == 0, list(traffic.tally.failures)


async def test_envoys_keep_serving_without_any_control_plane(running: LocalMesh, client: Api) -> None:
    async with Traffic(running.url, workers=2) as traffic:
        for replica in running.replicas:
            await replica.process.kill()
        served = traffic.tally.ok

        async def goes_on() -> bool:
            return traffic.tally.ok > served + 50

        await until("requests go on without a control plane", goes_on)
        for replica in running.replicas:
            await replica.process.start()
        await ready(client, running.replicas)

        await until("all proxies are connected again", lambda: all_connected(client, running))
        sent = {
            proxy: each["resourcesSent"] for proxy, each in (await streams(client, running.replicas)).items()
        }
        assert set(sent.values()) == {0}, sent
        assert traffic.tally.failed == 0, list(traffic.tally.failures)


async def test_a_proxy_without_a_resource_of_its_own_waits_for_one(running: LocalMesh, client: Api) -> None:
    """`dp run --name` for a Dataplane that nobody created: the bootstrap answers 404, and without a token 422."""
    context = ssl.create_default_context(cafile=str(running.ca_path))
    replica = running.replicas[0]
    token = await client.dataplane_token(replica.api, "default", "nobody")
    async with aiohttp.ClientSession() as session:
        body = {"mesh": "default", "name": "nobody", "host": "127.0.0.1", "dataplaneToken": token}
        async with session.post(replica.cp + "/bootstrap", json=body, ssl=context) as response:
            assert response.status == 404
        del body["dataplaneToken"]
        async with session.post(replica.cp + "/bootstrap", json=body, ssl=context) as response:
            assert response.status == 422
            assert "token" in (await response.text()).lower()
