"""Ports for listeners that another process opens a moment later.

A port that the kernel gave (bind to 0) and that was closed again may be taken in between by any outgoing
connection, as those get theirs from the same range (`ip_local_port_range`, ip(7)): the listener then fails
with "address already in use" once in a few thousand times. So these come from below that range, where only
who asks for a port by its number gets it.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable
from pathlib import Path

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
# Above those that services are known by, Kuma's own among them.
LOWEST = 20_000


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now, `count` of them, no two the same; OSError when there are not so many."""
    beyond = _first_ephemeral()
    span = range(LOWEST, beyond) if beyond > LOWEST + 1000 else range(LOWEST, 65_536)
    # In no order, so that two who ask at once seldom get the same.
    return free_among(random.sample(span, len(span)), count)


def free_among(candidates: Iterable[int], count: int) -> list[int]:
    """The first `count` of the candidates on which nobody listens; all held until all are known, so none twice."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        for port in candidates:
            if len(found) == count:
                return found
            probe = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):  # in use
                probe.bind(("", port))
                found.append(port)
    if len(found) < count:
        raise OSError(f"only {len(found)} of {count} ports wanted are free")
    return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def _first_ephemeral() -> int:
    try:
        return int(EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768  # Linux's default
