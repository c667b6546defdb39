"""The replicas of a compose project, by the Docker Engine's API and their own.

Replicas are the services whose name begins with `cp-`. On the host they are reached by
their published ports; in a container of the project by their names.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

import aiohttp

from chaos.engine import Engine, EngineError
from chaos.history import Stalled
from chaos.truth import from_lines
from raftstore.types import Commit

SERVICE, PROJECT = "com.docker.compose.service", "com.docker.compose.project"
DATA_DIR = "/var/lib/raftmesh"
API_PORT = "5681"
PEERS = "peers"  # the network between replicas; clients come by another
WEB, WEB_PORT = "web", "10000"
SETTLE_S = 120.0
POLL_S = 0.2
SMALL_BYTES_MAX = 1 << 30


class NothingToTest(Exception):
    """There is no cluster; the message says how to start one."""


class Place(NamedTuple):
    """One replica in the network of its peers. `names`: by which they find it."""

    container: str
    image: str
    network: str
    names: list[str]


class Containers:
    """The replicas of one compose project; a Rig (chaos/trial.py)."""

    def __init__(self, engine: Engine, project: str, by_name: bool) -> None:
        self.engine, self.project, self.by_name = engine, project, by_name
        self.replicas: dict[str, str] = {}
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0))

    async def find(self) -> None:
        """Raises NothingToTest."""
        for each in await self.engine.containers([f"{PROJECT}={self.project}"]):
            service = each["Labels"].get(SERVICE, "")
            if service.startswith("cp-") and each["State"] == "running":
                self.replicas[service] = await self._url(each["Id"], service)
        self.replicas = dict(sorted(self.replicas.items()))
        if not self.replicas:
            remedy = "docker compose -f compose/cluster-3.yml up --build -d"
            raise NothingToTest(f"no replica runs in the project {self.project!r}; start some: {remedy}")

    async def _url(self, container: str, service: str, port: str = API_PORT) -> str:
        if self.by_name:
            return f"http://{service}:{port}"
        found = await self.engine.inspect(container)
        (wanted,) = found["HostConfig"]["PortBindings"][f"{port}/tcp"]
        if wanted["HostPort"] in ("", "0"):
            raise NothingToTest(
                f"{service} is published on another port after each start; use --profile chaos"
            )
        return f"http://127.0.0.1:{wanted['HostPort']}"

    async def traffic_url(self) -> str | None:
        """Where the demo's requests go in, through the Envoy of `web`; None without a demo."""
        found = await self.engine.containers([f"{PROJECT}={self.project}", f"{SERVICE}={WEB}"])
        return await self._url(found[0]["Id"], WEB, WEB_PORT) if found else None

    async def container(self, name: str) -> str:
        """The id of a replica's container."""
        found = await self.engine.containers([f"{PROJECT}={self.project}", f"{SERVICE}={name}"])
        return str(found[0]["Id"])

    async def act(self, name: str, action: str, **query: str) -> None:
        await self.engine.act(await self.container(name), action, **query)

    async def place(self, name: str) -> Place:
        """Where its peers find a replica."""
        container = await self.container(name)
        found = await self.engine.inspect(container)
        networks = found["NetworkSettings"]["Networks"]
        network = next(each for each in networks if each.endswith(f"_{PEERS}"))
        names = [each for each in networks[network]["Aliases"] if not container.startswith(each)]
        return Place(container, found["Image"], network, names)

    async def voters(self) -> list[str]:
        return [name for name, role in (await self._roles()).items() if role != "observer"]

    async def observers(self) -> list[str]:
        return [name for name, role in (await self._roles()).items() if role == "observer"]

    async def _roles(self) -> dict[str, str]:
        """As the leader knows them."""
        status = await self.status(await self.leader())
        return {each["id"]: each["role"] for each in (status or {}).get("members", [])}

    async def small_volumes(self) -> bool:
        """Whether the voters' disks are small enough to be filled: those of the host are not to be."""
        command = ["df", "--output=avail", "-B1", DATA_DIR]
        free = [await self.engine.run(await self.container(name), command) for name in await self.voters()]
        return all(int(each.split()[-1]) <= SMALL_BYTES_MAX for each in free)

    # --- Rig --------------------------------------------------------------------------------------

    async def status(self, name: str, path: str = "/cluster") -> dict[str, Any] | None:
        """None when it does not answer."""
        try:
            async with self.session.get(self.replicas[name] + path) as response:
                return dict(await response.json()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    async def leader(self) -> str:
        """The replica that leads with a quorum. Raises Stalled."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            for name in self.replicas:
                status = await self.status(name)
                if status and status["role"] == "leader" and status["hasQuorum"]:
                    return name
            await asyncio.sleep(POLL_S)
        raise Stalled(f"no leader within {SETTLE_S:g} s")

    async def settled(self) -> None:
        deadline = time.monotonic() + SETTLE_S
        for name in self.replicas:
            while True:
                ready = await self.status(name, "/ready")
                if ready and ready["writable"] and await self.status(name, "/meshes/default"):
                    break
                if time.monotonic() > deadline:
                    raise Stalled(f"{name} does not serve after {SETTLE_S:g} s; it says {ready}")
                await asyncio.sleep(POLL_S)

    async def logs(self, after: int, upto: int) -> dict[str, list[Commit]]:
        command = ["python", "-m", "chaos.truth", "--after", str(after), "--upto", str(upto)]
        found = {}
        for name in self.replicas:
            try:
                text = await self.engine.run(await self.container(name), command)
            except EngineError:
                continue  # compacted there; another replica has it
            found[name] = from_lines(text.splitlines())
        return found
