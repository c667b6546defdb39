"""A replica that lost its disk comes back (`recover_from_peers`), without breaking promises it forgot.

It does not know any more whom it voted for and which entries it acknowledged. If it simply
started empty it could vote twice in a term, or help elect a leader that lacks an entry
which its lost acknowledgement had committed. So it comes back as a new member would:

1.  It is *silent*: takes part in no election, acknowledges nothing, and asks its peers for
    readmission. meta.json says so, so that a restart in between does not forget it.
2.  The leader removes it from the membership. That is committed by the others alone, so from
    then on no quorum that counts it can exist in an older term than the leader's. A leader that
    finds it removed already, but not for certain (a former leader may have begun it), waits.
3.  The leader sends its term. The replica adopts it and casts its vote of that term for the
    leader, durably: whatever it promised in this or an earlier term can no longer matter.
4.  It speaks again; the leader adds it, and it is sent the log or a snapshot.

It needs a quorum of the others, which is the point: with less, nobody can know what the
lost disk held.

The leader's side is told of each step by callbacks, within the turn that applies it: between the
commit of a removal and what follows nothing else can happen. So it is the same code here and on
virtual time (chaos/sim/rejoining.py).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from raftstore.errors import DiskFull
from raftstore.frames import Value
from raftstore.guard_messages import NUMBER_MAX
from raftstore.node import Fate, Node, ProposeResult
from raftstore.wal import Wal

if TYPE_CHECKING:
    from raftstore.replica import Replica

log = logging.getLogger(__name__)

ASK_S = 0.5


class Readmission:
    """The leader's side, sans-io. send(peer, frame)."""

    def __init__(self, node: Node, send: Callable[[str, tuple[Value, ...]], object]) -> None:
        self._node = node
        self._send = send
        self._busy: set[str] = set()

    def asked(self, peer: str) -> None:
        """`peer` asks for it, again and again: a step that fails is repeated then."""
        node = self._node
        if not node.is_leader or peer in self._busy:
            return
        self._busy.add(peer)
        if peer in node.voters:
            node.remove_member(peer, partial(self._removed, peer))
        elif node.membership_committed():
            self._add(peer)
        else:
            self._given_up(peer, "it is removed, but that is not committed yet")

    def _removed(self, peer: str, result: ProposeResult) -> None:
        if result.fate is not Fate.APPLIED:
            self._given_up(peer, result.reason or f"leadership was lost ({result.fate})")
        elif not self._node.is_leader or peer in self._node.voters:
            # Whoever leads now may have added it, and count what it acknowledges from here on.
            self._given_up(peer, "leadership was lost")
        else:
            self._add(peer)

    def _add(self, peer: str) -> None:
        self._send(peer, ("readmitted", self._node.term))
        self._node.add_member(peer, partial(self._added, peer))

    def _added(self, peer: str, result: ProposeResult) -> None:
        if result.fate is not Fate.APPLIED:
            self._given_up(peer, result.reason or f"leadership was lost ({result.fate})")
            return
        self._busy.discard(peer)
        log.info("%s lost its data and was readmitted", peer)

    def _given_up(self, peer: str, why: str) -> None:
        self._busy.discard(peer)
        log.info("%s is not readmitted yet: %s", peer, why)


class Rejoin:
    """Both sides. `silent`: this replica may neither vote nor acknowledge."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._directory = replica.opened.directory
        self.silent = self._directory.meta.recovering
        self._wanted = self.silent
        self._asked_at = float("-inf")
        self._readmission = Readmission(replica.node, self._tell)

    def tick(self, now: float) -> None:
        """Ask again until we are a voter of a membership that the others gave us."""
        replica = self._replica
        if self._wanted and not self.silent and replica.id in replica.node.voters:
            self._wanted = False
            log.info("%s is a voter again", replica.id)
        if self._wanted and now - self._asked_at >= ASK_S:
            self._asked_at = now
            for peer in replica.admin.addresses:
                replica.send(peer, ("readmit",))

    def frame(self, peer: str, name: str, frame: tuple[Value, ...]) -> bool:
        """Take a frame if it is one of ours. Raises ValueError for a wrong shape."""
        match frame:
            case ("readmit",):
                self._readmission.asked(peer)
                self._replica.kick()
            case ("readmitted", int(term)) if 0 < term <= NUMBER_MAX:
                self._readmitted(peer, term)
            case _:
                if name in ("readmit", "readmitted"):
                    raise ValueError("wrong shape")
                return False
        return True

    def _tell(self, peer: str, frame: tuple[Value, ...]) -> None:
        self._replica.send(peer, frame)
        self._replica.kick()

    def _readmitted(self, leader: str, term: int) -> None:
        replica = self._replica
        if not self.silent or term < replica.node.term:
            return
        if not promise(replica.node, replica.wal, leader, term):
            log.warning("cannot promise term %d to %s yet", term, leader)
            return
        self._directory.recovered()
        self.silent = False
        log.info("readmitted by %s in term %d", leader, term)


def promise(node: Node, wal: Wal, leader: str, term: int) -> bool:
    """Cast the vote of `term` for `leader`, durably, saying nothing; whether it is cast."""
    end = NUMBER_MAX
    vote = {
        "type": "request_vote",
        "term": term,
        "last_log_index": end,
        "last_log_term": end,
        "transfer": True,
    }
    node.receive(leader, vote)
    with contextlib.suppress(DiskFull):
        wal.flush()
    node.drain_outbox()
    return (wal.getCurrentTerm(), wal.getVotedForNodeId()) == (term, leader) and wal.hard_state_durable
