"""Three real replicas start together: what must exist is created once, and again by nobody."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from cp.up.client import Api
from cp.up.local import LocalMesh, Replica
from cp.up.story import until
from mesh.defaults import default_mesh, default_policies
from tests.process.conftest import ready

pytestmark = pytest.mark.process

WANTED = {(policy.kind, policy.name) for policy in default_policies(default_mesh())} | {
    ("Mesh", "default"),
    ("HostnameGenerator", "local-universal-mesh-service"),
    ("GlobalSecret", "user-token-signing-key-1"),
    ("GlobalSecret", "zone-token-signing-key-1"),
    ("GlobalSecret", "admin-user-token"),
    ("Secret", "dataplane-token-signing-key-default-1"),
}


async def written(api: Api, replica: Replica) -> Counter[tuple[str, str]]:
    """How often each resource was written."""
    answer: dict[str, Any] = await api.get(replica.api, "/history?size=1000&consistency=linearizable")
    return Counter((event["type"], event["name"]) for event in answer["items"])


async def test_defaults_are_created_once(cluster: LocalMesh, api: Api) -> None:
    first = cluster.replicas[0]

    async def complete() -> bool:
        return set(await written(api, first)) >= WANTED

    await until("all defaults", complete)
    leader = await api.leader([first.api])
    killed = next(replica for replica in cluster.replicas if replica.name == leader)
    await killed.process.kill()
    await killed.process.start()
    await ready(api, cluster.replicas)
    assert await api.put(killed.api, "/meshes/marker", {"type": "Mesh", "name": "marker"})
    for replica in cluster.replicas:
        counts = await written(api, replica)
        assert {key: counts[key] for key in WANTED} == dict.fromkeys(WANTED, 1), replica.name
