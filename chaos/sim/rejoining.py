"""A replica whose disk was set aside comes back: raftstore/rejoin.py on virtual time.

The leader's side is the real one (`Readmission`), and so is the promise that the replica makes
(`promise`); only who asks when is told here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chaos.sim.coverage import Reached
from raftstore.rejoin import ASK_S, Readmission, promise

if TYPE_CHECKING:
    from chaos.sim.host import Host


class Rejoining:
    """Both sides, for one life of a host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.wanted = host.recovering
        self._asked_at = float("-inf")
        self._readmission = Readmission(host.node, self._send)

    def tick(self) -> None:
        host = self._host
        if not self.wanted:
            return
        if not host.recovering and host.id in host.node.voters:
            self.wanted = False
            host.cluster.trace(f"{host.id} is a voter again")
        elif host.cluster.now - self._asked_at >= ASK_S:
            self._asked_at = host.cluster.now
            for peer in host.cluster.ids:
                if peer != host.id:
                    host.send_frame(peer, ("readmit",))

    def frame(self, peer: str, frame: tuple[Any, ...]) -> bool:
        """Take a frame if it is one of ours."""
        if frame[0] == "readmit":
            self._readmission.asked(peer)
        elif frame[0] == "readmitted":
            self._readmitted(peer, frame[1])
        else:
            return False
        return True

    def _send(self, peer: str, frame: tuple[Any, ...]) -> None:
        self._host.cluster.trace(f"{self._host.id} readmits {peer} in term {self._host.node.term}")
        self._host.send_frame(peer, frame)

    def _readmitted(self, leader: str, term: int) -> None:
        host = self._host
        if host.recovering and term >= host.node.term and promise(host.node, host.wal, leader, term):
            host.disk.burn(Reached.LOST_AT_NAMES)  # the file that says so is replaced
            host.recovering = False
            host.cluster.checker.promised(host.id, term, leader)
            host.reach(Reached.READMITTED_LATER if term > host.set_aside_in else Reached.READMITTED)
            host.cluster.trace(f"{host.id} is readmitted by {leader} in term {term}")
