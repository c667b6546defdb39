"""Suite `xds`: what Kuma sends to a proxy, resource by resource, and what a policy on trial would change.

Each proxy is a delta ADS client with the bootstrap that the control plane gave it, which takes all that it
is sent. A case is put through the API, read back from `_config`, and deleted.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import grpc
import grpc.aio
import yaml

from chaos.fakeenvoy import Connection, FakeEnvoy
from cp.ca.keeper import keep_authorities
from mesh.registry import KINDS
from tests.conformance.cases import SuiteScore, legacy_kind, read_documents
from tests.conformance.policy_cases import differences, suite_folder
from tests.conformance.seam import Seam, running
from tests.conformance.xds_normal import normal_diff, normal_xds
from tests.conformance.xds_worlds import ZONE, World, features, worlds
from tests.xds.config import worlds as documents_of
from xds.types import CLUSTER, LISTENER, SECRET

Json = dict[str, Any]
SETTLE_S = 2.0
SHOWN = 12  # differences told of a case that failed


class Case(NamedTuple):
    """An input, and the golden of each proxy."""

    name: str
    given: Path
    goldens: dict[str, Path]


def cases(folder: Path) -> Iterator[Case]:
    """The cases of one world."""
    for given in sorted(folder.rglob("*.input.yaml")):
        stem = given.name.removesuffix(".input.yaml")
        goldens = sorted(given.parent.glob(f"{stem}.*.golden.json"))
        names = [golden.name.removeprefix(f"{stem}.").removesuffix(".golden.json") for golden in goldens]
        name = str(given.parent.relative_to(folder.parent) / stem)
        yield Case(name, given, dict(zip(names, goldens, strict=True)))


async def test_xds() -> None:
    folder = suite_folder("xds")
    score = SuiteScore("xds")
    for part, world in worlds().items():
        found = list(cases(folder / part))
        if found:
            await run_world(world, found, score)
    score.finish()


async def run_world(world: World, found: list[Case], score: SuiteScore) -> None:
    """Run the cases of one mesh, its proxies connected all the while."""
    resources = [documents_of.resource(document, ZONE) for document in world.documents]
    environ = {
        "RAFTMESH_MULTIZONE_ZONE_NAME": ZONE,
        "RAFTMESH_DP_SERVER_AUTHN_DP_PROXY_TYPE": "none",
    }
    async with running(**environ) as seam:
        await seam.make_admin_authority()
        await seam.preload(resources)
        async with authorities(seam), connected(seam, world) as envoys:
            for case in found:
                await run_case(seam, world, case, score)
            for envoy in envoys:
                assert envoy.resources[CLUSTER] and envoy.resources[LISTENER]
                if "mtls" in world.documents[0]:
                    assert envoy.subscribed[SECRET] == envoy.resources[SECRET].keys()


@asynccontextmanager
async def authorities(seam: Seam) -> AsyncIterator[None]:
    """Give meshes with mTLS their authority, as a control plane does."""
    worker = seam.worker
    keeping = asyncio.create_task(keep_authorities(worker.config, worker.resources, worker.live))
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


# --- proxies ---------------------------------------------------------------------------------------


@asynccontextmanager
async def connected(seam: Seam, world: World) -> AsyncIterator[list[FakeEnvoy]]:
    """The proxies of a world, each with a stream of its own."""
    envoys: list[FakeEnvoy] = []
    connections: list[Connection] = []
    channels: list[grpc.aio.Channel] = []
    try:
        for name in world.proxies:
            bootstrap = await bootstrap_of(seam, world.mesh, name)
            envoy = FakeEnvoy(bootstrap["node"]["id"], bootstrap["node"]["metadata"])
            envoys.append(envoy)
            channels.append(channel_of(bootstrap))
            connections.append(Connection(envoy, channels[-1], {}))
        for connection in connections:
            await connection.until(lambda envoy: bool(envoy.resources.get(LISTENER)))
        yield envoys
    finally:
        for connection in connections:
            await connection.close()
        for channel in channels:
            await channel.close(None)


async def bootstrap_of(seam: Seam, mesh: str, name: str) -> Json:
    """What the control plane tells the proxy to begin with."""
    body = {
        "mesh": mesh,
        "name": name,
        "host": "localhost",
        "proxyType": "dataplane",
        "readinessPort": 9902,
        "workdir": "/tmp",
        "features": features(name),
        "ipv6Enabled": False,
    }
    url = f"https://localhost:{seam.worker.ports['dpServer.port']}/bootstrap"
    async with aiohttp.ClientSession() as session, session.post(url, json=body, ssl=False) as answer:
        text = await answer.text()
        assert answer.status == 200, text
        bootstrap: Json = yaml.safe_load(text)
        return bootstrap


def channel_of(bootstrap: Json) -> grpc.aio.Channel:
    """A channel as the bootstrap says: to the address in it, believing the authority in it."""
    secret = bootstrap["staticResources"]["secrets"][0]["validationContext"]
    roots = base64.b64decode(secret["trustedCa"]["inlineBytes"])
    ads = next(found for found in bootstrap["staticResources"]["clusters"] if found["name"] == "ads_cluster")
    address = ads["loadAssignment"]["endpoints"][0]["lbEndpoints"][0]["endpoint"]["address"]["socketAddress"]
    target = f"{address['address']}:{address['portValue']}"
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots))


# --- cases -----------------------------------------------------------------------------------------


async def run_case(seam: Seam, world: World, case: Case, score: SuiteScore) -> None:
    """Put the input, compare each proxy, and take the input away."""
    documents = read_documents(case.given.read_text())
    if legacy := legacy_kind(documents):
        for _ in case.goldens:
            score.skip(legacy)
        return
    paths = []
    for document in documents:
        paths.append(path_of(document))
        answer = await seam.call("PUT", paths[-1], json.dumps(document))
        assert answer.status < 300, f"{case.name}: {answer.status} {answer.text}"
    for proxy, golden in case.goldens.items():
        wanted = json.loads(golden.read_text())
        score.judge(f"{case.name}.{proxy}", await settled_faults(seam, world.mesh, proxy, wanted))
    for path in reversed(paths):
        answer = await seam.call("DELETE", path)
        assert answer.status < 300, f"{case.name}: {answer.status} {answer.text}"


def path_of(document: Json) -> str:
    """Where a document is put."""
    kind = KINDS[document["type"]]
    mesh = f"/meshes/{document['mesh']}" if kind.scope == "mesh" else ""
    return f"{mesh}/{kind.path}/{document['name']}"


async def settled_faults(seam: Seam, mesh: str, proxy: str, wanted: Json) -> list[str]:
    """What differs from the golden, once nothing does or time is up."""
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = await faults(seam, mesh, proxy, wanted)
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(0.1)


async def faults(seam: Seam, mesh: str, proxy: str, wanted: Json) -> list[str]:
    path = f"/meshes/{mesh}/dataplanes/{proxy}/_config?shadow=true&include=diff"
    answer = await seam.call("GET", path)
    if answer.status != 200:
        return [f"{answer.status} {answer.text}"]
    got = json.loads(answer.text)
    found = list(differences(normal_xds(got["xds"]), normal_xds(wanted["xds"])))
    by_path: dict[str, list[list[Json]]] = defaultdict(lambda: [[], []])
    for side, operations in enumerate((normal_diff(got["diff"]), normal_diff(wanted["diff"] or []))):
        for operation in operations:
            by_path[operation["path"]][side].append(operation)
    found += [f"  diff {path}: got {one}, wanted {two}" for path, (one, two) in by_path.items() if one != two]
    return found[:SHOWN]
