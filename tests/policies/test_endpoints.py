"""Which endpoint of several is used: hashing, nearness, health."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiohttp import web

from cp.up.story import until
from mesh.codec import decode, encode_value, to_document
from raftstore.types import Key, Put, Txn
from tests.policies.harness import DEADLINE_S, Seen, Services

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

TO_BACKEND = {"targetRef": {"kind": "MeshService", "name": "backend"}}


async def answers(mesh: Services, count: int, **headers: str) -> list[str]:
    return [(await mesh.request(mesh.ports.backend, **headers)).text for _ in range(count)]


async def eventually(mesh: Services, what: str, holds: Callable[[set[str]], bool]) -> None:
    async def check() -> bool:
        return holds(set(await answers(mesh, 10)))

    await until(what, check, DEADLINE_S)


async def test_meshloadbalancingstrategy_sticks_by_hash(mesh: Services) -> None:
    balancer = {"type": "RingHash", "ringHash": {"minRingSize": 1024}}
    policies = [{"type": "Header", "header": {"name": "x-user"}}]
    conf = {"loadBalancer": balancer, "hashPolicies": policies}
    users = [f"user-{number}" for number in range(24)]  # all at one of two: once in eight million runs
    async with mesh.policy("MeshLoadBalancingStrategy", {"to": [{**TO_BACKEND, "default": conf}]}):

        async def sticks() -> bool:
            return all([len(set(await answers(mesh, 5, x_user=user))) == 1 for user in users[:6]])

        await until("each user stays at one backend", sticks)
        first = {user: (await answers(mesh, 1, x_user=user))[0] for user in users}
        assert set(first.values()) == {"v1", "v2"}, "all users at one backend: nothing is hashed"
        assert {user: (await answers(mesh, 1, x_user=user))[0] for user in users} == first
    await eventually(mesh, "requests without a policy go to both", lambda found: found == {"v1", "v2"})


PROBED = {
    "interval": "100ms",
    "timeout": "500ms",
    "unhealthyThreshold": 1,
    "healthyThreshold": 1,
    "noTrafficInterval": "100ms",
    "healthyPanicThreshold": 0,
    "http": {"path": "/health", "expectedStatuses": [200]},
}


async def unhealthy(seen: Seen) -> web.Response:
    return web.Response(status=503 if seen.path == "/health" else 200, text="sick")


async def test_meshhealthcheck_takes_an_unhealthy_endpoint_out(mesh: Services) -> None:
    mesh.apps["v1"].answer = unhealthy
    async with mesh.policy("MeshHealthCheck", {"to": [{**TO_BACKEND, "default": PROBED}]}):
        await eventually(mesh, "only the healthy backend is used", lambda found: found == {"v2"})
        assert "/health" in mesh.apps["v1"].paths()
        mesh.apps["v1"].answer = None
        await eventually(mesh, "it comes back when it is well", lambda found: found == {"v1", "v2"})


async def move(mesh: Services, name: str, zone: str) -> None:
    """Put a Dataplane into another zone. The API writes its own zone into each, so the log is written to."""
    key = Key("Dataplane", "default", name)
    document = to_document(mesh.worker.live.view.get(*key))
    for inbound in document["networking"]["inbound"]:
        inbound["tags"]["kuma.io/zone"] = zone
    outcome = await mesh.store.submit(Txn(writes=(Put(key, encode_value(decode(document))),)))
    assert outcome.applied


async def test_meshloadbalancingstrategy_fails_over_to_the_next_priority(mesh: Services) -> None:
    """Other zones get nothing while the own one is well, everything while it is not."""
    conf = {"localityAwareness": {"crossZone": {"failover": [{"to": {"type": "Only", "zones": ["east"]}}]}}}
    await move(mesh, "backend-v2", "east")
    async with (
        mesh.policy("MeshLoadBalancingStrategy", {"to": [{**TO_BACKEND, "default": conf}]}),
        mesh.policy("MeshHealthCheck", {"to": [{**TO_BACKEND, "default": PROBED}]}),
    ):
        await eventually(mesh, "only the own zone is used", lambda found: found == {"v1"})
        mesh.apps["v1"].answer = unhealthy
        await eventually(mesh, "the next zone takes over", lambda found: found == {"v2"})
        mesh.apps["v1"].answer = None
        await eventually(mesh, "the own zone is used again", lambda found: found == {"v1"})
    await move(mesh, "backend-v2", "default")
    await eventually(mesh, "both are near", lambda found: found == {"v1", "v2"})
