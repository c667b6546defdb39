"""`raftmesh cp run` as real processes: embedded, a cluster of three, and what keeps it from running."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from dp.ports import free_ports
from raftstore.certs import create_ca, issue

pytestmark = pytest.mark.process

READY_S = 60.0
STOP_S = 30.0


@dataclass
class Replica:
    """One control plane as a process."""

    name: str
    process: asyncio.subprocess.Process
    base: str
    session: aiohttp.ClientSession
    log: Path

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.base + path) as response:
            return response.status, await response.json()

    async def put(self, path: str, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
        async with self.session.put(self.base + path, json=body, headers=headers) as response:
            return response.status, await response.json(), dict(response.headers)

    async def ready(self) -> None:
        async with asyncio.timeout(READY_S):
            while True:
                assert self.process.returncode is None, self.log.read_text()
                try:
                    if (await self.get("/ready"))[0] == 200:
                        return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), STOP_S)


def settings(directory: Path, name: str, ports: list[int], **raft: Any) -> dict[str, Any]:
    api, dp, diagnostics, listen = ports
    return {
        "apiServer": {"http": {"interface": "127.0.0.1", "port": api}, "https": {"enabled": False}},
        "dpServer": {"interface": "127.0.0.1", "port": dp},
        "diagnostics": {"interface": "127.0.0.1", "serverPort": diagnostics},
        "raft": {
            "nodeId": name,
            "dataDir": str(directory / name),
            "listen": f"127.0.0.1:{listen}",
            **raft,
        },
    }


async def start(directory: Path, session: aiohttp.ClientSession, config: dict[str, Any]) -> Replica:
    name = config["raft"]["nodeId"]
    file = directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config))
    log = directory / f"{name}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cp.cli", "cp", "run", "--config", str(file)),
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    return Replica(name, process, f"http://127.0.0.1:{config['apiServer']['http']['port']}", session, log)


@asynccontextmanager
async def processes() -> AsyncIterator[tuple[aiohttp.ClientSession, list[Replica]]]:
    """A client, and a list of what must not outlive the test."""
    started: list[Replica] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        try:
            yield session, started
        finally:
            for replica in started:
                await replica.stop(signal.SIGKILL)


async def test_embedded_survives_kill_and_stops_in_order(tmp_path: Path) -> None:
    config = settings(tmp_path, "cp-1", free_ports(4))
    async with processes() as (session, started):
        first = await start(tmp_path, session, config)
        started.append(first)
        await first.ready()
        status, _, headers = await first.put("/meshes/kept", {"type": "Mesh", "name": "kept"})
        assert status == 201
        await first.stop(signal.SIGKILL)
        second = await start(tmp_path, session, config)
        started.append(second)
        await second.ready()
        assert (await second.get(f"/meshes/kept?index={headers['X-Raftmesh-Index']}"))[0] == 200
        assert (await second.get("/cluster"))[1]["role"] == "leader"
        assert await second.stop() == 0
        assert "Traceback" not in second.log.read_text()


async def test_three_replicas_then_two_then_one(tmp_path: Path) -> None:
    names = ["cp-1", "cp-2", "cp-3"]
    create_ca(tmp_path / "ca")
    ports = {name: free_ports(4) for name in names}
    for name in names:
        issue(tmp_path / "ca", name, ["127.0.0.1"])
    async with processes() as (session, started):
        for name in names:
            peers = [f"{other}=127.0.0.1:{ports[other][3]}" for other in names if other != name]
            config = settings(tmp_path, name, ports[name], peers=peers, tlsDir=str(tmp_path / "ca"))
            started.append(await start(tmp_path, session, config))
        await asyncio.gather(*(replica.ready() for replica in started))
        for replica in started:
            mesh = f"by-{replica.name}"
            status, body, headers = await replica.put(f"/meshes/{mesh}", {"type": "Mesh", "name": mesh})
            assert status == 201, body
            seen = await asyncio.gather(
                *(each.get(f"/meshes/{mesh}?index={headers['X-Raftmesh-Index']}") for each in started)
            )
            assert [status for status, _ in seen] == [200, 200, 200]
        leader_id = (await started[0].get("/cluster"))[1]["leader"]
        leader = next(replica for replica in started if replica.name == leader_id)
        rest = [replica for replica in started if replica is not leader]
        assert await leader.stop() == 0
        status, body, _ = await rest[0].put("/meshes/two-left", {"type": "Mesh", "name": "two-left"})
        assert status == 201, body
        await rest[1].stop(signal.SIGKILL)
        await alone(rest[0])
        status, body, _ = await rest[0].put("/meshes/one-left", {"type": "Mesh", "name": "one-left"})
        assert status == 503, body
        assert "no quorum" in body["detail"]
        assert (await rest[0].get("/meshes/two-left"))[0] == 200
        assert (await rest[0].get("/meshes?consistency=linearizable"))[0] == 503


async def test_two_workers_share_the_ports_and_come_back(tmp_path: Path) -> None:
    ports = free_ports(4)
    config = settings(tmp_path, "cp-1", ports) | {"workers": 2}
    async with processes() as (session, started):
        replica = await start(tmp_path, session, config)
        started.append(replica)
        await replica.ready()
        diagnostics = replace(replica, base=f"http://127.0.0.1:{ports[2]}")
        await diagnostics.ready()
        status, _, headers = await replica.put("/meshes/m", {"type": "Mesh", "name": "m"})
        assert status == 201
        seen = set()
        for _ in range(40):  # each on a connection of its own, so on either worker
            async with aiohttp.ClientSession() as fresh, fresh.get(replica.base + "/") as response:
                seen.add((await response.json())["instanceId"])
            assert (await replica.get(f"/meshes/m?index={headers['X-Raftmesh-Index']}"))[0] == 200
        assert len(seen) == 2
        async with session.get(diagnostics.base + "/metrics") as response:
            text = await response.text()
        assert 'view_index{worker="0"}' in text
        assert 'view_index{worker="1"}' in text
        async with session.get(diagnostics.base + "/meshes") as response:
            assert response.status == 404
        os.kill(int(seen.pop().rpartition("-")[2]), signal.SIGKILL)
        await replica.ready()
        await diagnostics.ready()
        assert await replica.stop() == 0


async def alone(replica: Replica) -> None:
    """Wait until it knows no leader, itself included. Until then a write may get 504: it was sent to
    a leader that lost its quorum, and nobody can tell yet what becomes of it."""
    async with asyncio.timeout(READY_S):
        while True:
            status = (await replica.get("/cluster"))[1]
            if status["leader"] is None and status["role"] != "leader":
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("setting", ["apiServer.http.port", "dpServer.port"])
async def test_a_port_in_use_is_one_line(tmp_path: Path, setting: str) -> None:
    ports = free_ports(4)
    taken = ports[0 if setting == "apiServer.http.port" else 1]
    with socket.create_server(("127.0.0.1", taken)):
        async with processes() as (session, started):
            replica = await start(tmp_path, session, settings(tmp_path, "cp-1", ports))
            started.append(replica)
            assert await asyncio.wait_for(replica.process.wait(), READY_S) == 1
    text = replica.log.read_text()
    assert f"Error: 127.0.0.1:{taken} ({setting}): the port is in use" in text
    assert "Traceback" not in text


async def test_wrong_settings_are_all_told_at_once(tmp_path: Path) -> None:
    config = settings(tmp_path, "cp-1", free_ports(4)) | {"mode": "zne", "wrkers": 2}
    async with processes() as (session, started):
        replica = await start(tmp_path, session, config)
        started.append(replica)
        assert await asyncio.wait_for(replica.process.wait(), READY_S) == os.EX_CONFIG
    text = replica.log.read_text()
    assert "Error: mode: 'zne' is not allowed; allowed: zone, global" in text
    assert "Error: wrkers: no such setting; did you mean workers?" in text


@pytest.mark.parametrize("embedded", ["always", "never"])
async def test_a_data_directory_belongs_to_one(tmp_path: Path, embedded: str) -> None:
    """A store that cannot start is told in one line, whether it is a process of its own or not."""
    async with processes() as (session, started):
        first = await start(tmp_path, session, settings(tmp_path, "cp-1", free_ports(4)))
        started.append(first)
        await first.ready()
        config = settings(tmp_path, "cp-2", free_ports(4))
        config["raft"]["dataDir"] = str(tmp_path / "cp-1")
        config["raft"]["embedded"] = embedded
        second = await start(tmp_path, session, config)
        started.append(second)
        assert await asyncio.wait_for(second.process.wait(), READY_S) == os.EX_CONFIG
        told = [line for line in second.log.read_text().splitlines() if str(tmp_path / "cp-1") in line]
        assert len(told) == 1 and told[0].startswith("Error: the store cannot run: "), told
