"""Which ports a control plane opens, and by which setting each can be moved.

Workers share ports with SO_REUSEPORT, with which a second control plane would bind the
same ones without an error and take half of the connections. So before anything starts,
each port is tried without it: what is in use is said in one line, with the setting.
"""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from cp.config_schema import Config


class Listener(NamedTuple):
    host: str
    port: int
    setting: str


class Unusable(Exception):
    """The control plane cannot run as configured; the message is one line for its operator."""


class StoreUnusable(Unusable):
    """Its store cannot: starting again would end the same, so the process exits with EX_CONFIG."""


def listeners(config: Config) -> list[Listener]:
    """Every TCP port that this configuration opens; 0 means that the system picks one."""
    api = config.api_server
    found = [Listener(config.diagnostics.interface, config.diagnostics.server_port, "diagnostics.serverPort")]
    if api.http.enabled:
        found.append(Listener(api.http.interface, api.http.port, "apiServer.http.port"))
    if api.https.enabled:
        found.append(Listener(api.https.interface, api.https.port, "apiServer.https.port"))
    if config.mode == "zone":
        found.append(Listener(config.dp_server.interface, config.dp_server.port, "dpServer.port"))
    if config.raft.peers:
        host, _, port = config.raft.listen.rpartition(":")
        found.append(Listener(host.strip("[]"), int(port), "raft.listen"))
    return found


def check_free(found: list[Listener]) -> None:
    """Raises Unusable, naming the first port that cannot be opened and its setting."""
    seen: dict[int, str] = {}
    for host, port, setting in found:
        if port == 0:
            continue
        if port in seen:
            raise Unusable(f"{setting} and {seen[port]} are both {port}; give each a port of its own")
        seen[port] = setting
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
            except OSError as error:
                raise Unusable(f"{host}:{port} ({setting}): {_reason(error)}") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use by another process; stop it or choose another port"
    if error.errno == errno.EACCES:
        return "not permitted; ports below 1024 need privileges"
    return (error.strerror or str(error)).lower()
