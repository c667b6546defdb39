"""Faults against the containers of a compose topology, under the workload; then the judgement.

    python -m chaos.containers [--project raftmesh] [--fault NAME ...] [--seconds S]

Replicas are the services whose name begins with `cp-`. On the host they are reached by
their published ports; in a container (the `chaos` profile), with --by-name, by their names.

Exit status: 0 when every promise held, 1 when one was broken, 2 without a cluster to test.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp

from chaos.engine import SOCKET, Engine, EngineError
from chaos.history import Stalled
from chaos.trial import Fault, Report, summary, trial
from chaos.truth import from_lines
from cp.up.traffic import Traffic
from raftstore.guarantees import Violation
from raftstore.types import Commit

SERVICE, PROJECT = "com.docker.compose.service", "com.docker.compose.project"
DATA_DIR = "/var/lib/raftmesh"
API_PORT = "5681"
PEERS = "peers"  # the network between replicas; clients come by another
WEB, WEB_PORT = "web", "10000"
SETTLE_S = 90.0
POLL_S = 0.2
FULL_BYTES_MAX = 1 << 30


class DataPlane(Violation):
    """A failure of the control plane became a failed request."""


class NothingToTest(Exception):
    """There is no cluster; the message says how to start one."""


class Containers:
    """The replicas of one compose project; a Rig (chaos/trial.py)."""

    def __init__(self, engine: Engine, project: str, by_name: bool) -> None:
        self.engine, self.project, self.by_name = engine, project, by_name
        self.replicas: dict[str, str] = {}
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0))

    async def find(self) -> None:
        """Raises NothingToTest."""
        for each in await self.engine.containers([f"{PROJECT}={self.project}"]):
            service = each["Labels"][SERVICE]
            if service.startswith("cp-") and each["State"] == "running":
                self.replicas[service] = await self._url(each["Id"], service)
        self.replicas = dict(sorted(self.replicas.items()))
        if not self.replicas:
            remedy = "docker compose -f compose/cluster-3.yml up --build -d"
            raise NothingToTest(f"no replica runs in the project {self.project!r}; start some: {remedy}")

    async def _url(self, container: str, service: str, port: str = API_PORT) -> str:
        if self.by_name:
            return f"http://{service}:{port}"
        ports = (await self.engine.inspect(container))["NetworkSettings"]["Ports"]
        return f"http://127.0.0.1:{ports[f'{port}/tcp'][0]['HostPort']}"

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


# --- faults ---------------------------------------------------------------------------------------


@asynccontextmanager
async def kill_leader(rig: Containers) -> AsyncIterator[None]:
    victim = await rig.leader()
    await rig.act(victim, "kill")
    yield
    await rig.act(victim, "start")


@asynccontextmanager
async def kill_all(rig: Containers) -> AsyncIterator[None]:
    await asyncio.gather(*(rig.act(name, "kill") for name in rig.replicas))
    yield
    for name in rig.replicas:
        await rig.act(name, "start")


@asynccontextmanager
async def pause_leader(rig: Containers) -> AsyncIterator[None]:
    victim = await rig.leader()
    await rig.act(victim, "pause")
    try:
        yield
    finally:
        await rig.act(victim, "unpause")


@asynccontextmanager
async def disconnect_leader(rig: Containers) -> AsyncIterator[None]:
    """From the other replicas; clients still reach it."""
    victim = await rig.leader()
    container = await rig.container(victim)
    networks = (await rig.engine.inspect(container))["NetworkSettings"]["Networks"]
    name = next(name for name in networks if name.endswith(f"_{PEERS}"))
    aliases = networks[name]["Aliases"]
    await rig.engine.disconnect(name, container)
    try:
        yield
    finally:
        await rig.engine.connect(name, container, aliases)


@asynccontextmanager
async def full_volume(rig: Containers) -> AsyncIterator[None]:
    """For small volumes only (compose/small-volumes.yml): a disk of the host is not to be filled."""
    victim = await rig.leader()
    container = await rig.container(victim)
    free = await rig.engine.run(container, ["df", "--output=avail", "-B1", DATA_DIR])
    if int(free.split()[-1]) > FULL_BYTES_MAX:
        raise Stalled(f"{DATA_DIR} of {victim} is no small volume; use compose/small-volumes.yml")
    filler = f"{DATA_DIR}/filler"
    script = f"cat /dev/zero > {filler} 2>/dev/null; true"
    await rig.engine.run(container, ["sh", "-c", script], user="root")
    try:
        deadline = time.monotonic() + SETTLE_S
        while not ((await rig.status(victim)) or {}).get("readOnlyReason"):
            if time.monotonic() > deadline:
                raise Stalled(f"the volume is full, and {victim} does not say so")
            await asyncio.sleep(POLL_S)
        yield
    finally:
        await rig.engine.run(container, ["rm", "-f", filler], user="root")


@asynccontextmanager
async def rolling_restart(rig: Containers) -> AsyncIterator[None]:
    for name in rig.replicas:
        await rig.act(name, "restart", t="15")
        await rig.settled()
    yield


FAULTS = (
    Fault("kill-leader", "docker kill: the others elect a leader and go on", kill_leader),
    Fault("kill-all", "what was acknowledged is there after the restart", kill_all, goes_on=False),
    Fault("pause-leader", "docker pause: awake again it serves nothing stale", pause_leader),
    Fault("disconnect-leader", "docker network disconnect: it serves nothing stale", disconnect_leader),
    Fault("full-volume", "it steps down, says so, and resumes when space returns", full_volume),
    Fault("rolling-restart", "docker restart, one by one: writes go on", rolling_restart),
)


async def run(project: str, by_name: bool, faults: list[Fault], seconds: float) -> list[Report]:
    """Raises NothingToTest."""
    if not SOCKET.exists():
        raise NothingToTest(f"there is no Docker: {SOCKET} does not exist")
    async with Engine() as engine:
        rig = Containers(engine, project, by_name)
        async with rig.session, AsyncExitStack() as stack:
            await rig.find()
            await rig.settled()
            print(f"{len(rig.replicas)} replicas: {', '.join(rig.replicas)}", flush=True)
            traffic = None
            if url := await rig.traffic_url():
                await flows(url)
                traffic = await stack.enter_async_context(Traffic(url, workers=2, pause_s=0.1))
            return [
                await one(rig, fault, seconds, f"c{int(time.time()):x}-{number}", traffic)
                for number, fault in enumerate(faults)
            ]


async def one(rig: Containers, fault: Fault, seconds: float, label: str, traffic: Traffic | None) -> Report:
    """One trial. Requests between services must not notice it: proxies keep what they have."""
    failed = traffic.tally.failed if traffic else 0
    report = await trial(rig, fault, seconds, label)
    if traffic is not None and traffic.tally.failed > failed:
        text = (
            f"{traffic.tally.failed - failed} requests between services failed: {traffic.tally.failures[-1]}"
        )
        report.violations.append(DataPlane(text))
    print(report.line() + (f"  {traffic.tally.ok} requests served" if traffic else ""), flush=True)
    for violation in report.violations:
        print(f"  {type(violation).__name__}: {str(violation)[:4000]}", flush=True)
    return report


async def flows(url: str) -> None:
    """Wait for the first request that goes through both Envoys. Raises Stalled."""
    deadline = time.monotonic() + SETTLE_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2.0)) as session:
        while time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(POLL_S)
    raise Stalled(f"no request gets through {url} within {SETTLE_S:g} s")


def main() -> int:
    names = [fault.name for fault in FAULTS]
    parser = argparse.ArgumentParser(prog="python -m chaos.containers")
    parser.add_argument("--project", default="raftmesh", help="the compose project")
    parser.add_argument(
        "--by-name", action="store_true", help="in a container: reach replicas by their names"
    )
    parser.add_argument("--fault", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each fault lasts")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if fault.name in (options.fault or names)]
    try:
        reports = asyncio.run(run(options.project, options.by_name, chosen, options.seconds))
    except (NothingToTest, Stalled) as error:
        print(f"cannot run: {error}", file=sys.stderr)
        return 2
    print(summary("containers", reports))
    return int(any(report.violations for report in reports))


if __name__ == "__main__":
    sys.exit(main())
