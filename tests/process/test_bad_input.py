"""Garbage on every port, and starts that cannot succeed: a clear line, and everybody else lives on."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from cp.up.client import Api
from cp.up.local import LocalMesh, Replica
from dp.ports import free_ports
from tests.process.conftest import ready

pytestmark = pytest.mark.process

GARBAGE = (
    b"\x00" * 64,
    b"GET / HTTP/9.9\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200,
    b"\x80\x02cposix\nsystem\n" * 10,
    os.urandom(4096),
)


def ports_of(replica: Replica) -> dict[str, int]:
    config = yaml.safe_load(replica.config_path.read_text())
    tls = config["apiServer"]["https"]
    return {
        "api": config["apiServer"]["http"]["port"],
        **({"api over TLS": tls["port"]} if "port" in tls else {}),
        "dp-server": config["dpServer"]["port"],
        "raft": int(config["raft"]["listen"].rpartition(":")[2]),
        "diagnostics": config["diagnostics"]["serverPort"],
    }


async def throw(port: int, data: bytes, tls: ssl.SSLContext | None) -> None:
    """Send and hang up; the other side may close first, and that is fine."""
    try:
        async with asyncio.timeout(60):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
            writer.write(data)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
    except (OSError, TimeoutError):
        return


def with_tls(replica: Replica, directory: Path) -> None:
    """Have a replica that is not started yet serve its API over TLS, too."""
    config = yaml.safe_load(replica.config_path.read_text())
    (port,) = free_ports(1)
    config["apiServer"]["https"] = {"interface": "127.0.0.1", "port": port}
    config["general"] = {"workDir": str(directory)}
    replica.config_path.write_text(yaml.safe_dump(config))


async def test_garbage_on_each_port_hurts_nobody(mesh: LocalMesh, api: Api, tmp_path: Path) -> None:
    cluster = mesh
    with_tls(cluster.replicas[0], tmp_path)
    for replica in cluster.replicas:
        await replica.process.start()
    await ready(api, cluster.replicas)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    target = cluster.replicas[0]
    pids = {replica.name: replica.process.pid for replica in cluster.replicas}
    for port in ports_of(target).values():
        for data in GARBAGE:
            await throw(port, data, None)
            await throw(port, data, trusting)
    await ready(api, cluster.replicas)
    assert {replica.name: replica.process.pid for replica in cluster.running_replicas()} == pids
    log = target.process.log_path.read_text()
    assert "Traceback" not in log, log[-3000:]


async def start_and_fail(config: Path) -> tuple[int, str]:
    """Run a replica that must not start: its exit status and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cp.cli", "cp", "run", "--config", str(config)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


def changed(replica: Replica, path: Path, **sections: dict[str, object]) -> Path:
    config = yaml.safe_load(replica.config_path.read_text())
    for section, values in sections.items():
        config[section].update(values)
    path.write_text(yaml.safe_dump(config))
    return path


async def test_a_port_in_use_is_named(mesh: LocalMesh, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        http = {"http": {"interface": "127.0.0.1", "port": port}, "https": {"enabled": False}}
        status, output = await start_and_fail(changed(mesh.replicas[0], tmp_path / "c.yaml", apiServer=http))
    assert status != 0
    assert str(port) in output
    assert "Traceback" not in output


async def test_a_raft_port_in_use_is_named(mesh: LocalMesh, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = changed(mesh.replicas[0], tmp_path / "c.yaml", raft={"listen": f"127.0.0.1:{port}"})
        status, output = await start_and_fail(config)
    assert status != 0
    assert str(port) in output
    assert "Traceback" not in output


async def test_a_data_directory_in_use_is_named(cluster: LocalMesh, tmp_path: Path, api: Api) -> None:
    replica = cluster.replicas[0]
    free = {"interface": "127.0.0.1", "port": 0}
    config = changed(
        replica,
        tmp_path / "c.yaml",
        apiServer={"http": free, "https": {"enabled": False}},
        dpServer={"port": 0},
        diagnostics={"serverPort": 0},
        raft={"listen": "127.0.0.1:0"},
    )
    status, output = await start_and_fail(config)
    assert status != 0
    (line,) = [line for line in output.splitlines() if "is in use by process" in line]
    assert yaml.safe_load(config.read_text())["raft"]["dataDir"] in line
    assert "Traceback" not in output
    await ready(api, cluster.replicas)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raft: {nodeId: [", "not YAML"),
        ("apiServer: {http: {port: many}}", "apiServer.http.port"),
        ("apiServer: {http: {prot: 1}}", "apiServer.http.port"),
        ("mode: galactic", "mode"),
        ("raft: {peers: [nonsense]}", "raft.peers"),
    ],
)
async def test_a_bad_setting_is_named_with_its_path(tmp_path: Path, text: str, said: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text)
    status, output = await start_and_fail(config)
    assert status != 0
    assert said in output
    assert "Traceback" not in output


async def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    status, output = await start_and_fail(tmp_path / "none.yaml")
    assert status != 0
    assert "none.yaml" in output
    assert "Traceback" not in output


def test_the_api_of_a_replica_is_where_its_file_says(mesh: LocalMesh) -> None:
    for replica in mesh.replicas:
        assert urlsplit(replica.api).port == ports_of(replica)["api"]
