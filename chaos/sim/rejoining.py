"""A replica whose disk was set aside comes back: raftstore/rejoin.py on virtual time.

The promise that the replica makes is the real one (`promise`), and so is the node that
changes its members; only the waiting in between is told by callbacks here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raftstore.node import Fate, ProposeResult
from raftstore.rejoin import ASK_S, promise

if TYPE_CHECKING:
    from chaos.sim.host import Host


class Rejoining:
    """Both sides, for one life of a host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.wanted = host.recovering
        self._asked_at = float("-inf")
        self._busy: set[str] = set()

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
            self._readmit(peer)
        elif frame[0] == "readmitted":
            self._readmitted(peer, frame[1])
        else:
            return False
        return True

    def _readmit(self, peer: str) -> None:
        node = self._host.node
        if not node.is_leader or peer in self._busy:
            return
        self._busy.add(peer)

        def removed(result: ProposeResult) -> None:
            if result.fate is Fate.APPLIED:
                self._add(peer)
            else:
                self._busy.discard(peer)

        if peer in node.voters:
            node.remove_member(peer, removed)
        elif node.membership_committed():
            self._add(peer)
        else:
            self._busy.discard(peer)

    def _add(self, peer: str) -> None:
        node = self._host.node
        self._host.cluster.trace(f"{self._host.id} readmits {peer} in term {node.term}")
        self._host.send_frame(peer, ("readmitted", node.term))
        node.add_member(peer, lambda result: self._busy.discard(peer))

    def _readmitted(self, leader: str, term: int) -> None:
        host = self._host
        if host.recovering and term >= host.node.term and promise(host.node, host.wal, leader, term):
            host.recovering = False
            host.cluster.trace(f"{host.id} is readmitted by {leader} in term {term}")
