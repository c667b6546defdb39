"""Real replicas, `raftmesh cp run`, each in a namespace of its own and on a disk of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import yaml

from chaos.clocks import WallClock
from chaos.history import Stalled
from chaos.namespaces import RAFT_PORT, Network
from chaos.shell import CommandFailed
from chaos.truth import read_log
from chaos.volumes import Volume
from cp.up.processes import Process, python
from raftstore.certs import create_ca, issue
from raftstore.types import Commit

SETTLE_S = 120.0
ASK_S = 1.0
POLL_S = 0.1
GONE_S = 5.0
API_PORT = 5681


class Replica:
    """One replica: its processes, its disk, its number in the network (from 1 on)."""

    def __init__(self, number: int, root: Path, network: Network, preload: Path | None = None) -> None:
        """`preload`: a library of chaos/preload.py, for its processes."""
        self.number, self.name = number, f"cp-{number}"
        self.url = f"http://{network.address(number)}:{API_PORT}"
        self.volume = Volume(root / f"{self.name}.img", root / self.name)
        self.run_dir = root / f"r{number}"
        self.log_path = root / f"{self.name}.log"
        config = root / f"{self.name}.yaml"
        self.clock = WallClock(root / f"{self.name}.clock")
        environ = {"TMPDIR": str(self.run_dir), **self.clock.environ}
        if preload is not None:
            environ["LD_PRELOAD"] = str(preload)
        settings = [f"{name}={value}" for name, value in environ.items()]
        command = ["env", *settings, *python("cp.cli", "cp", "run", "--config", str(config))]
        self.process = Process(self.name, network.inside(number, command), self.log_path)
        self.run_dir.mkdir()
        config.write_text(yaml.safe_dump(self._settings(root / "certs", network), sort_keys=False))

    def _settings(self, certs: Path, network: Network) -> dict[str, Any]:
        address = network.address(self.number)
        issue(certs, self.name, [address])
        return {
            "apiServer": {
                "http": {"interface": address},
                "https": {"enabled": False},
                "authn": {"tokens": {"enableIssuer": False}},
            },
            "dpServer": {
                "interface": address,
                "tlsCertFile": str(certs / f"{self.name}.pem"),
                "tlsKeyFile": str(certs / f"{self.name}.key"),
            },
            "raft": {
                "nodeId": self.name,
                "dataDir": str(self.volume.path / "data"),
                "listen": f"{address}:{RAFT_PORT}",
                "peers": [
                    f"cp-{n}={network.address(n)}:{RAFT_PORT}" for n in network.numbers if n != self.number
                ],
                "tlsDir": str(certs),
            },
        }

    async def start(self) -> None:
        await self.process.start()

    async def kill(self) -> None:
        """kill -9 of the store, the worker and their parent at once."""
        group = self.process.pid
        self.resume()  # what is stopped dies as well, but not before it runs
        await self.process.kill()
        deadline = time.monotonic() + GONE_S
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.killpg(group, 0)
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """SIGTERM, as an operator would."""
        await self.process.stop()

    def pause(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGCONT)

    async def remount(self) -> None:
        """After a power cut: the file system again, as it is on the device."""
        deadline = time.monotonic() + GONE_S
        while True:
            try:
                await self.volume.unmount()
                break
            except CommandFailed:  # the last of its processes is still going
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_S)
        await self.volume.mount()


class Replicas:
    """The cluster; a Rig (chaos/trial.py). Everything is ended and removed on the way out."""

    def __init__(self, root: Path, network: Network, preload: Path | None = None) -> None:
        self.network = network
        create_ca(root / "certs")
        self.members = [Replica(number, root, network, preload) for number in network.numbers]
        self.replicas = {member.name: member.url for member in self.members}
        self._session: aiohttp.ClientSession | None = None

    def __iter__(self) -> Iterator[Replica]:
        return iter(self.members)

    async def __aenter__(self) -> Replicas:
        try:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_S))
            for member in self:
                await member.volume.make()
            for member in self:
                await member.start()
            await self.settled()
        except BaseException:
            await self._remove()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._remove()

    async def _remove(self) -> None:
        if self._session is not None:
            await self._session.close()
        for member in self:
            await member.volume.thaw()
            if member.process.running:
                await member.kill()
        for member in self:
            await member.volume.remove()

    # --- what faults ask --------------------------------------------------------------------------

    async def status(self, member: Replica, path: str = "/cluster") -> dict[str, Any] | None:
        """None when it does not answer."""
        assert self._session is not None
        try:
            async with self._session.get(member.url + path) as response:
                return dict(await response.json()) if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            return None

    async def date(self, member: Replica) -> float | None:
        """The time that it tells, in seconds since 1970; None when it does not answer."""
        assert self._session is not None
        try:
            async with self._session.get(member.url + "/ready") as response:
                return parsedate_to_datetime(response.headers["Date"]).timestamp()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def leader(self) -> Replica:
        """The replica that leads with a quorum. Raises Stalled."""
        deadline = time.monotonic() + SETTLE_S
        while time.monotonic() < deadline:
            for member in self:
                status = await self.status(member) if member.process.running else None
                if status and status["role"] == "leader" and status["hasQuorum"]:
                    return member
            await asyncio.sleep(POLL_S)
        raise Stalled(f"no leader within {SETTLE_S:g} s")

    async def others(self, than: Replica) -> list[Replica]:
        return [member for member in self if member is not than]

    async def settled(self) -> None:
        """Every replica runs, serves, takes writes and knows a leader. Raises Stalled."""
        deadline = time.monotonic() + SETTLE_S
        for member in self:
            while not await self._serves(member):
                if time.monotonic() > deadline:
                    tail = member.process.log_tail()
                    raise Stalled(f"{member.name} does not serve after {SETTLE_S:g} s:\n{tail}")
                await asyncio.sleep(POLL_S)

    async def _serves(self, member: Replica) -> bool:
        ready = await self.status(member, "/ready")
        return bool(ready and ready["writable"] and await self.status(member, "/meshes/default"))

    async def logs(self, after: int, upto: int) -> dict[str, list[Commit]]:
        found = {member.name: await read_log(member.run_dir, after, upto) for member in self}
        return {name: commits for name, commits in found.items() if commits is not None}
