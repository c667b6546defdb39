"""The debug mode of derivation: what is right is left alone, what went stale is found, named and counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from chaos.fakeenvoy import Connection as Client
from chaos.fakeenvoy import FakeEnvoy
from cp.auditing import Auditor
from cp.metrics import Metrics
from cp.streams import Connections
from mesh.view import Changes, View
from tests.xds.config.worlds import (
    TRANSPARENT,
    dataplane,
    mesh,
    mesh_service,
    node,
    policy,
    resource,
    view_of,
)
from xds.config.audit import Difference, audit, held
from xds.config.source import Source
from xds.server import AdsServer
from xds.types import CLUSTER

API = "default_api___msvc_80"


def world(*documents: Any) -> View:
    return view_of(
        [
            mesh(),
            dataplane("web", 8080, networking=TRANSPARENT),
            dataplane("api-1", 80, service="api"),
            mesh_service("api", vip="241.0.0.1"),
            *documents,
        ]
    )


SLOW = policy(
    "MeshTimeout", "slow", to=[{"targetRef": {"kind": "Mesh"}, "default": {"connectionTimeout": "7s"}}]
)


def changed(view: View) -> tuple[View, Changes]:
    made = resource(SLOW)
    return view.with_changes(2, [(made.key, made)])


def snapshot_of(source: Source) -> Any:
    snapshot = source.connect(node("web"), lambda deltas: None).snapshot()
    assert snapshot is not None
    return held(snapshot)


def test_what_followed_every_event_equals_a_build_from_scratch() -> None:
    view = world()
    source = Source(view)
    stream = source.connect(node("web"), lambda deltas: None)
    view, changes = changed(view)
    source.advance(view, changes)
    snapshot = stream.snapshot()
    assert snapshot is not None
    assert audit(view, node("web"), "", held(snapshot)) == []


def test_each_way_to_be_wrong_is_named() -> None:
    view = world()
    have = {type_url: dict(of_type) for type_url, of_type in snapshot_of(Source(view)).items()}
    clusters = have[CLUSTER]
    stale = snapshot_of(Source(changed(view)[0]))[CLUSTER][API]
    clusters["ghost"] = stale._replace(name="ghost")
    clusters[API] = stale
    lost = next(name for name in clusters if name.startswith("localhost"))
    del clusters[lost]
    assert audit(view, node("web"), "", have) == [
        Difference(CLUSTER, API, "stale"),
        Difference(CLUSTER, "ghost", "left over"),
        Difference(CLUSTER, lost, "missing"),
    ]


def test_a_proxy_whose_dataplane_is_gone_is_not_judged() -> None:
    assert audit(view_of([mesh()]), node("web"), "", {}) is None


@asynccontextmanager
async def connected(source: Source, connections: Connections) -> AsyncIterator[None]:
    server = AdsServer(source, observers=[connections])
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{await server.start('127.0.0.1:0')}")
    client = Client(FakeEnvoy("default.web"), channel, {})
    await client.until(lambda envoy: API in envoy.resources.get(CLUSTER, {}))
    try:
        yield
    finally:
        await client.close()
        await channel.close(None)
        await server.stop(0)


async def test_a_derivation_that_misses_an_event_is_caught(caplog: pytest.LogCaptureFixture) -> None:
    """A derivation that reads what is not recorded does not hear of it: as if it were not told."""
    view, metrics, connections = world(), Metrics(), Connections()
    source = Source(view, later=asyncio.get_running_loop().call_soon)
    auditor = Auditor(source, connections, "", metrics, 1.0)
    assert await auditor.check_next() == []  # nobody is connected
    async with connected(source, connections):
        assert await auditor.check_next() == []
        newer, _ = changed(view)
        source.advance(newer, Changes.none())
        with caplog.at_level(logging.ERROR, logger="cp.auditing"):
            found = await auditor.check_next()
    assert Difference(CLUSTER, API, "stale") in found
    assert f"Cluster {API} (stale)" in caplog.text
    text = metrics.expose().decode()
    assert "xds_consistency_checks_total 2.0" in text
    assert f"xds_consistency_differences_total {len(found)}.0" in text


async def test_it_waits_until_the_wave_is_over() -> None:
    view, connections = world(), Connections()
    later: list[Any] = []
    source = Source(view, later=later.append)

    async def turn() -> None:
        while later:
            later.pop(0)()
            await asyncio.sleep(0)

    await turn()
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(_opened(source, connections))
        while not opening.done():
            await turn()
            await asyncio.sleep(0)
    stop = opening.result()
    view, changes = changed(view)
    source.advance(view, changes)
    assert not source.settled
    checking = asyncio.create_task(Auditor(source, connections, "", Metrics(), 1.0).check_next())
    await asyncio.sleep(0)
    assert not checking.done()
    await turn()
    assert await checking == []
    await stop()


async def _opened(source: Source, connections: Connections) -> Any:
    context = connected(source, connections)
    await context.__aenter__()

    async def stop() -> None:
        await context.__aexit__(None, None, None)

    return stop
