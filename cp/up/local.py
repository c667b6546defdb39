"""A mesh on this machine: which processes, which ports, which files.

DIR/ca/                     the cluster's CA and the replicas' certificates
DIR/replica-N/config.yaml   what `raftmesh cp run` reads
DIR/NAME.yaml               the Dataplane of each proxy
DIR/logs/                   one log file a process
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cp.up.client import Api
from cp.up.processes import Process, python
from raftstore.certs import create_ca, issue

HOST = "127.0.0.1"
MESH = "default"


class UpError(Exception):
    """The mesh cannot be started; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One control-plane replica. `api` is its HTTP API's base URL, `cp` the dp-server's."""

    name: str
    process: Process
    api: str
    cp: str
    config_path: Path


@dataclass(frozen=True, slots=True)
class Service:
    """A demo service and the proxy beside it."""

    name: str
    process: Process
    proxy: Process
    inbound: int
    token_path: Path


def fixed_ports(count: int) -> list[int]:
    """Kuma's well-known ports for the first replica, a thousand higher for each next one."""
    replicas = [port + 1000 * n for n in range(3) for port in (5681, 5678, 5683, 5680, 5676)]
    ports = (replicas + [10000 + n for n in range(count)])[:count]
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                raise UpError(f"port {port} is in use; stop what uses it, or run with --ports auto") from None
    return ports


def dataplane(
    name: str, service: str, version: str, inbound: int, port: int, outbound: int | None
) -> dict[str, Any]:
    """The Dataplane of one proxy: its inbound before the service, and `backend` as an outbound."""
    tags = {"kuma.io/service": service, "kuma.io/protocol": "http", "version": version}
    inbounds = [{"port": inbound, "servicePort": port, "serviceAddress": HOST, "tags": tags}]
    networking: dict[str, Any] = {"address": HOST, "inbound": inbounds}
    if outbound is not None:
        networking["outbound"] = [{"port": outbound, "tags": {"kuma.io/service": "backend"}}]
    return {"type": "Dataplane", "mesh": MESH, "name": name, "networking": networking}


class LocalMesh:
    """Builds the files and knows the processes; starting them is the caller's pace."""

    def __init__(self, directory: Path, *, ports: Sequence[int], keep: bool = False) -> None:
        self.directory = directory
        if directory.exists() and not keep:
            shutil.rmtree(directory)
        (directory / "logs").mkdir(parents=True, exist_ok=True)
        self._ports: Iterator[int] = iter(ports)
        self.ca_path = directory / "ca" / "ca.pem"
        self.replicas = self._make_replicas(3)
        self.services = self._make_services()
        self.url = f"http://{HOST}:{self.services[-1].inbound}/"

    PORTS = 3 * 5 + 3 * 2 + 1

    def running_replicas(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.process.running]

    def processes(self) -> list[Process]:
        """In the order in which they are started."""
        services = [process for service in self.services for process in (service.process, service.proxy)]
        return [replica.process for replica in self.replicas] + services

    async def start_service(self, service: Service, api: Api) -> None:
        """Start a service and, with a token of its own, the proxy beside it."""
        await service.process.start()
        token = await api.dataplane_token(self.running_replicas()[0].api, MESH, service.name)
        service.token_path.touch(mode=0o600)
        service.token_path.write_text(token)
        await service.proxy.start()

    async def stop(self) -> None:
        for process in reversed(self.processes()):
            await process.stop()

    # --- replicas ---

    def _make_replicas(self, count: int) -> list[Replica]:
        names = [f"replica-{n + 1}" for n in range(count)]
        ports = [[next(self._ports) for _ in range(5)] for _ in range(count)]
        certificates = self.directory / "ca"
        if not self.ca_path.exists():
            create_ca(certificates)
            for name in names:
                issue(certificates, name, [HOST, "localhost"])
        peers = {name: f"{HOST}:{ports[n][2]}" for n, name in enumerate(names)}
        return [self._make_replica(name, ports[n], peers) for n, name in enumerate(names)]

    def _make_replica(self, name: str, ports: Sequence[int], peers: dict[str, str]) -> Replica:
        api, dp_server, raft, diagnostics, mads = ports
        certificates = self.directory / "ca"
        config = {
            "apiServer": {"http": {"interface": HOST, "port": api}, "https": {"enabled": False}},
            "dpServer": {
                "interface": HOST,
                "port": dp_server,
                "tlsCertFile": str(certificates / f"{name}.pem"),
                "tlsKeyFile": str(certificates / f"{name}.key"),
            },
            "diagnostics": {"serverPort": diagnostics},
            "monitoringAssignmentServer": {"port": mads},
            "raft": {
                "nodeId": name,
                "dataDir": str(self.directory / name / "data"),
                "listen": f"{HOST}:{raft}",
                "peers": [f"{peer}={address}" for peer, address in peers.items() if peer != name],
                "tlsDir": str(certificates),
                "electionTimeout": "300ms",
            },
        }
        path = self.directory / name / "config.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(config, sort_keys=False))
        command = python("cp.cli", "cp", "run", "--config", str(path))
        process = Process(name, command, self.directory / "logs" / f"{name}.log")
        return Replica(name, process, f"http://{HOST}:{api}", f"https://{HOST}:{dp_server}", path)

    # --- services ---

    def _make_services(self) -> list[Service]:
        outbound = next(self._ports)
        return [
            self._make_service("backend-1", "backend", "v1", None),
            self._make_service("backend-2", "backend", "v2", None),
            self._make_service("web", "web", "v1", outbound),
        ]

    def _make_service(self, name: str, service: str, version: str, outbound: int | None) -> Service:
        inbound, port = next(self._ports), next(self._ports)
        path = self.directory / f"{name}.yaml"
        path.write_text(
            yaml.safe_dump(dataplane(name, service, version, inbound, port, outbound), sort_keys=False)
        )
        logs = self.directory / "logs"
        command = python("cp.up.service", "--name", service, "--version", version, "--port", str(port))
        if outbound is not None:
            command += ["--upstream", f"http://{HOST}:{outbound}"]
        proxy = python(
            "cp.cli", "dp", "run", "--dataplane-file", str(path), "--ca-cert-file", str(self.ca_path)
        )
        token_path = self.directory / f"{name}.token"
        proxy += [
            "--dataplane-token-file",
            str(token_path),
            "--work-dir",
            str(self.directory / f"{name}-proxy"),
        ]
        proxy += ["--concurrency", "1", "--drain-time", "2s"]
        for replica in self.replicas:
            proxy += ["--cp-address", replica.cp]
        return Service(
            name,
            Process(name, command, logs / f"{name}.log"),
            Process(f"{name}-proxy", proxy, logs / f"{name}-proxy.log"),
            inbound,
            token_path,
        )
