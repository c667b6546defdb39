"""Ports in use are found before anything starts, and named with their setting."""

from __future__ import annotations

import socket

import pytest

from cp.config import load
from cp.ports import Listener, Unusable, check_free, listeners


def test_a_port_in_use_is_named_with_its_setting() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Unusable, match=rf"127.0.0.1:{port} \(apiServer.http.port\): the port is in use"):
            check_free([Listener("127.0.0.1", port, "apiServer.http.port")])


def test_two_settings_with_one_port() -> None:
    with pytest.raises(Unusable, match=r"dpServer\.port and apiServer\.http\.port are both 54321"):
        check_free(
            [
                Listener("127.0.0.1", 54321, "apiServer.http.port"),
                Listener("127.0.0.1", 54321, "dpServer.port"),
            ]
        )


def test_what_is_not_served_needs_no_port() -> None:
    environ = {"RAFTMESH_MODE": "global", "RAFTMESH_API_SERVER_HTTPS_ENABLED": "false"}
    settings = {listener.setting for listener in listeners(load(None, environ).config)}
    assert settings == {"apiServer.http.port", "diagnostics.serverPort"}
    peers = {
        "RAFTMESH_RAFT_PEERS": "b=h:1",
        "RAFTMESH_RAFT_TLS_DIR": "/x",
        "RAFTMESH_RAFT_LISTEN": "[::1]:7000",
    }
    assert Listener("::1", 7000, "raft.listen") in listeners(load(None, peers).config)


def test_port_zero_is_always_free() -> None:
    check_free([Listener("127.0.0.1", 0, "a"), Listener("127.0.0.1", 0, "b")])
