"""A real three-replica cluster on loopback, started for each test that asks for one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from cp.up.client import Api
from cp.up.local import LocalMesh, Replica
from cp.up.story import until
from dp.ports import free_ports


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with Api() as client:
        yield client


@pytest.fixture
async def mesh(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[LocalMesh]:
    """Files and processes of a mesh; the test starts what it needs, everything is ended for it.

    When the test failed, the end of each log goes to its captured output.
    """
    local = LocalMesh(tmp_path / "mesh", ports=free_ports(LocalMesh.PORTS))
    yield local
    await local.stop()
    report = getattr(request.node, "rep_call", None)
    if report is not None and report.failed:
        for process in local.processes():
            if process.log_path.exists():
                sys.stderr.write(f"--- {process.name} ---\n{process.log_tail()}\n")


@pytest.fixture
async def cluster(mesh: LocalMesh, api: Api) -> LocalMesh:
    """The three replicas of `mesh`, ready and with a leader."""
    for replica in mesh.replicas:
        await replica.process.start()
    await ready(api, mesh.replicas)
    return mesh


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    setattr(item, f"rep_{report.when}", report)
    return report


async def ready(api: Api, replicas: list[Replica]) -> None:
    async def all_ready() -> bool:
        for replica in replicas:
            assert replica.process.running, replica.process.log_tail()
        return all([await api.ready(replica.api) for replica in replicas])

    await until("all replicas are ready", all_ready)
    await until("a leader", led(api, replicas))


def led(api: Api, replicas: list[Replica]) -> Callable[[], Awaitable[bool]]:
    async def has_leader() -> bool:
        return await api.leader([replica.api for replica in replicas]) is not None

    return has_leader
