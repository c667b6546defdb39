"""Real Envoys on a real cluster: registration, moves between replicas, and what is sent then."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import yaml

from cp.up.client import Api, ApiError
from cp.up.local import LocalMesh, Replica, Service
from cp.up.story import ROUTE_PATH, route_to, until
from cp.up.traffic import Traffic
from tests.process.conftest import ready

pytestmark = [pytest.mark.process, pytest.mark.envoy]


@pytest.fixture
async def running(mesh: LocalMesh, api: Api) -> AsyncIterator[LocalMesh]:
    """The whole demo mesh, answering requests; proxies that left are taken away after a second."""
    for replica in mesh.replicas:
        config = yaml.safe_load(replica.config_path.read_text())
        config["xdsServer"] = {"dataplaneDeregistrationDelay": "1s"}
        replica.config_path.write_text(yaml.safe_dump(config))
        await replica.process.start()
    await ready(api, mesh.replicas)
    for service in mesh.services:
        await mesh.start_service(service, api)
    async with Traffic(mesh.url, workers=1) as probe:

        async def both() -> bool:
            for process in mesh.processes():
                assert process.running, process.log_tail()
            return set(probe.tally.versions_since(time.monotonic() - 1.0)) >= {"v1", "v2"}

        await until("both backends answer through the proxies", both)
    yield mesh


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


async def test_a_proxy_that_moves_is_sent_nothing_it_has(running: LocalMesh, api: Api) -> None:
    before = await streams(api, running.replicas)
    assert set(before) == {"default.web", "default.backend-1", "default.backend-2"}
    assert all(stream["rejections"] == [] for stream in before.values())
    victim = next(each for each in running.replicas if each.name == before["default.web"]["replica"])
    moving = [proxy for proxy, stream in before.items() if stream["replica"] == victim.name]
    survivors = [replica for replica in running.replicas if replica is not victim]
    async with Traffic(running.url, workers=2) as traffic:
        await victim.process.kill()

        async def moved() -> bool:
            now = await streams(api, survivors)
            return all(proxy in now and now[proxy]["subscribedTypes"] >= 2 for proxy in moving)

        await until("the proxies are connected elsewhere", moved)
        after = await streams(api, survivors)
        assert {proxy: after[proxy]["resourcesSent"] for proxy in moving} == dict.fromkeys(moving, 0)
        assert all(after[proxy]["resourcesKnown"] > 0 for proxy in moving)
        assert traffic.tally.failed == 0, list(traffic.tally.failures)


async def test_a_change_is_sent_acknowledged_and_moves_traffic(running: LocalMesh, api: Api) -> None:
    async with Traffic(running.url, workers=2) as traffic:
        for number, version in enumerate(("v2", "v1", "v2")):
            await api.put(running.replicas[number].api, ROUTE_PATH, route_to(version))

            async def moved(version: str = version) -> bool:
                return set(traffic.tally.versions_since(time.monotonic() - 0.3)) == {version}

            await until(f"all traffic at {version}", moved)
        assert traffic.tally.failed == 0, list(traffic.tally.failures)

    async def acknowledged() -> bool:
        found = (await streams(api, running.replicas)).values()
        return all(each["responsesAcknowledged"] == each["responsesSent"] for each in found)

    await until("everything sent is acknowledged", acknowledged)
    assert all(each["responsesRejected"] == 0 for each in (await streams(api, running.replicas)).values())


async def test_a_proxy_that_leaves_in_order_is_deregistered(running: LocalMesh, api: Api) -> None:
    leaving: Service = running.services[1]
    path = f"/meshes/default/dataplanes/{leaving.name}"
    assert await exists(api, running.replicas[0], path)
    async with Traffic(running.url, workers=2) as traffic:
        await leaving.proxy.stop()

        async def gone() -> bool:
            return not any([await exists(api, replica, path) for replica in running.replicas])

        await until("its Dataplane is gone from every replica", gone)
        seen = time.monotonic()

        async def elsewhere() -> bool:
            return set(traffic.tally.versions_since(seen)) == {"v1"}

        await until("traffic goes to the other instance", elsewhere)

    await leaving.proxy.start()

    async def back() -> bool:
        return await exists(api, running.replicas[2], path)

    await until("it is registered again", back)


async def test_proxies_stay_while_replicas_restart(running: LocalMesh, api: Api) -> None:
    """A control plane that goes away, in order or not, takes no proxy away."""
    path = "/meshes/default/dataplanes/web"
    async with Traffic(running.url, workers=2) as traffic:
        for replica in running.replicas:
            await replica.process.stop()
            await replica.process.start()
            await ready(api, running.replicas)
            assert await exists(api, replica, path)

        async def all_connected() -> bool:
            return len(await streams(api, running.replicas)) == 3

        await until("all proxies are connected", all_connected)
        assert traffic.tally.failed == 0, list(traffic.tally.failures)


async def test_envoys_keep_serving_without_any_control_plane(running: LocalMesh, api: Api) -> None:
    async with Traffic(running.url, workers=2) as traffic:
        for replica in running.replicas:
            await replica.process.kill()
        served = traffic.tally.ok

        async def goes_on() -> bool:
            return traffic.tally.ok > served + 50

        await until("requests go on without a control plane", goes_on)
        for replica in running.replicas:
            await replica.process.start()
        await ready(api, running.replicas)

        async def all_connected() -> bool:
            return len(await streams(api, running.replicas)) == 3

        await until("all proxies are connected again", all_connected)
        sent = {
            proxy: each["resourcesSent"] for proxy, each in (await streams(api, running.replicas)).items()
        }
        assert set(sent.values()) == {0}, sent
        assert traffic.tally.failed == 0, list(traffic.tally.failures)


async def test_a_proxy_without_a_resource_of_its_own_waits_for_one(running: LocalMesh, api: Api) -> None:
    """`dp run --name` for a Dataplane that nobody created: the bootstrap answers 404, and without a token 422."""
    context = ssl.create_default_context(cafile=str(running.ca_path))
    replica = running.replicas[0]
    token = await api.dataplane_token(replica.api, "default", "nobody")
    async with aiohttp.ClientSession() as session:
        body = {"mesh": "default", "name": "nobody", "host": "127.0.0.1", "dataplaneToken": token}
        async with session.post(replica.cp + "/bootstrap", json=body, ssl=context) as response:
            assert response.status == 404
        del body["dataplaneToken"]
        async with session.post(replica.cp + "/bootstrap", json=body, ssl=context) as response:
            assert response.status == 422
            assert "token" in (await response.text()).lower()
