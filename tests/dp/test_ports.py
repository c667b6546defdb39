"""Ports for others to listen on: never from where the kernel takes those of outgoing connections."""

import socket

import pytest

from dp.ports import EPHEMERAL, LOWEST, free_among, free_port, free_ports


def test_none_is_the_same_as_another_and_none_is_listened_on() -> None:
    ports = free_ports(200)
    assert len(set(ports)) == 200
    for port in ports[:20]:
        with socket.create_server(("127.0.0.1", port)) as server:
            assert server.getsockname()[1] == port


def test_no_outgoing_connection_can_take_one_in_between() -> None:
    first = int(EPHEMERAL.read_text().split()[0])
    assert all(LOWEST <= port < first for port in free_ports(200))


def test_a_port_in_use_is_passed_over() -> None:
    free, other = free_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert free_among([free, server.getsockname()[1], other], 2) == [free, other]


def test_too_few_is_an_error_not_a_short_list() -> None:
    with pytest.raises(OSError, match="only 1 of 2 ports"):
        free_among([free_port()], 2)
