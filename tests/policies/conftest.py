"""The mesh that the tests of one file share, and what must hold after each of them."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.policies.harness import Services, World


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:  # a Unix socket's path is short, a test's directory is not
    with tempfile.TemporaryDirectory(prefix="policies-") as name:
        yield Path(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(directory: Path) -> AsyncIterator[Services]:
    """The usual mesh, plain."""
    services = Services(directory)
    try:
        await services.start({})
        yield services
    except BaseException:
        show_logs(services)
        raise
    finally:
        await services.close()


@pytest_asyncio.fixture(loop_scope="module")
async def mesh(started: Services) -> AsyncIterator[Services]:
    """The mesh for one test. After it every proxy has accepted everything that it was ever sent."""
    for app in started.apps.values():
        app.forget()
    yield started
    await started.settled()


def show_logs(world: World) -> None:
    """What the Envoys said, for the output of a test that failed."""
    for proxy in world.proxies.values():
        log = (proxy.directory / "envoy.log").read_text(errors="replace")
        sys.stderr.write(f"--- {proxy.name} ---\n{log[-4000:]}\n")
