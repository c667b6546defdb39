"""What leaves the mesh through transparent proxying: everything, some places, or nothing.

The test lives in a network namespace of its own, in which iptables redirects what a client at CLIENT
sends to the proxy, as on a host with transparent proxying. The outside is two addresses of the same
namespace; what the proxy itself sends there is not redirected.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from cp.up.story import until
from dp.ports import free_ports
from tests.policies.conftest import show_logs
from tests.policies.harness import DEADLINE_S, HOST, App, World, serving

pytestmark = [pytest.mark.process, pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

CLIENT = "198.51.100.1"
ALLOWED = "198.51.100.7"
OTHER = "198.51.100.8"
CLONE_NEWNET = 0x40000000


def run(command: str) -> None:
    subprocess.run(command.split(), check=True, capture_output=True)


@pytest.fixture(scope="module")
def namespace() -> Iterator[None]:
    """Put this thread, and the processes that it starts, into an empty network."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace; this test needs root")
    try:
        run("ip link set lo up")
        for address in (CLIENT, ALLOWED, OTHER):
            run(f"ip address add {address}/32 dev lo")
        yield
    finally:
        assert libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)


class Outside(World):
    """A proxy with transparent proxying, and two servers that belong to no mesh."""

    async def start(self, mesh: Mapping[str, Any]) -> None:
        await super().start(mesh)
        redirected, inbound, redirected_inbound, self.port = free_ports(4)
        for address in (ALLOWED, OTHER):
            outside = App(address, self.port, address=address)
            self.apps[address] = await self._stack.enter_async_context(serving(outside))
        rule = f"-s {CLIENT} -d 198.51.100.0/24 -p tcp -j REDIRECT --to-ports {redirected}"
        run(f"iptables -t nat -A OUTPUT {rule}")
        app = await self.app("web")
        tags = {"kuma.io/service": "web", "kuma.io/protocol": "http"}
        listening = {"port": inbound, "servicePort": app.port, "serviceAddress": HOST, "tags": tags}
        ports = {"redirectPortOutbound": redirected, "redirectPortInbound": redirected_inbound}
        await self.proxy("web", {"inbound": [listening], "transparentProxying": ports})
        connector = aiohttp.TCPConnector(local_addr=(CLIENT, 0), force_close=True)
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        self.client = await self._stack.enter_async_context(session)

    async def fetch(self, address: str, host: str = "") -> tuple[int, str]:
        """What a redirected client gets from an address; status 0 when the connection is closed."""
        headers = {"Host": host} if host else {}
        try:
            async with self.client.get(f"http://{address}:{self.port}/", headers=headers) as response:
                return response.status, await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0, type(error).__name__

    async def reaches(self, reached: dict[str, bool]) -> None:
        """Wait until exactly these addresses are reached."""

        async def so() -> bool:
            return {address: await self.fetch(address) == (200, address) for address in reached} == reached

        await until(f"reached: {reached}", so)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outside(namespace: None, directory: Path) -> AsyncIterator[Outside]:
    world = Outside(directory)
    try:
        await world.start({})
        yield world
    except BaseException:
        show_logs(world)
        raise
    finally:
        await world.close()


def matched(*matches: Any) -> Any:
    return {"default": {"passthroughMode": "Matched", "appendMatch": list(matches)}}


async def test_meshpassthrough_lets_nothing_out(outside: Outside) -> None:
    await outside.reaches({ALLOWED: True, OTHER: True})
    assert await outside.proxies["web"].stat("upstream_cx_total$") > 0
    async with outside.policy("MeshPassthrough", {"default": {"passthroughMode": "None"}}):
        await outside.reaches({ALLOWED: False, OTHER: False})
    await outside.reaches({ALLOWED: True, OTHER: True})
    await outside.settled()


async def test_meshpassthrough_lets_out_to_an_address(outside: Outside) -> None:
    match = {"type": "IP", "value": ALLOWED, "port": outside.port, "protocol": "tcp"}
    async with outside.policy("MeshPassthrough", matched(match)):
        await outside.reaches({ALLOWED: True, OTHER: False})
        assert (await outside.fetch(OTHER))[0] == 0
    await outside.settled()


async def test_meshpassthrough_lets_out_to_a_host_name(outside: Outside) -> None:
    match = {"type": "Domain", "value": "shop.example", "port": outside.port, "protocol": "http"}
    async with outside.policy("MeshPassthrough", matched(match)):

        async def by_name() -> bool:
            allowed = await outside.fetch(OTHER, "shop.example")
            other = await outside.fetch(OTHER, "bank.example")
            return (allowed, other[0]) == ((200, OTHER), 503)

        await until("only the named host is let through", by_name)
    await outside.settled()
