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
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from raftstore.errors import DiskFull
from raftstore.frames import Value
from raftstore.guard_messages import NUMBER_MAX
from raftstore.node import Node
from raftstore.wal import Wal

if TYPE_CHECKING:
    from raftstore.replica import Replica

log = logging.getLogger(__name__)

ASK_S = 0.5


class Rejoin:
    """Both sides. `silent`: this replica may neither vote nor acknowledge."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._directory = replica.opened.directory
        self.silent = self._directory.meta.recovering
        self._wanted = self.silent
        self._asked_at = float("-inf")
        self._readmitting: dict[str, asyncio.Task[None]] = {}

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
                if self._replica.node.is_leader and peer not in self._readmitting:
                    task = asyncio.get_running_loop().create_task(self._readmit(peer))
                    self._readmitting[peer] = task
                    task.add_done_callback(lambda _: self._readmitting.pop(peer, None))
            case ("readmitted", int(term)) if 0 < term <= NUMBER_MAX:
                self._readmitted(peer, term)
            case _:
                if name in ("readmit", "readmitted"):
                    raise ValueError("wrong shape")
                return False
        return True

    async def close(self) -> None:
        for task in self._readmitting.values():
            task.cancel()
        await asyncio.gather(*self._readmitting.values(), return_exceptions=True)

    # --- the leader's side ------------------------------------------------------------------------

    async def _readmit(self, peer: str) -> None:
        """Remove and add `peer`. A step that fails is repeated when it asks again."""
        replica, node = self._replica, self._replica.node
        why = ""
        if peer in node.voters:
            why = await replica.admin.change("remove", peer)
        elif not node.membership_committed():
            why = "it is removed, but that is not committed yet"
        if not why:
            replica.send(peer, ("readmitted", node.term))
            replica.kick()
            why = await replica.admin.change("add", peer)
        if why:
            log.info("%s is not readmitted yet: %s", peer, why)
        else:
            log.warning("%s lost its data and was readmitted", peer)

    # --- the side that lost its disk ----------------------------------------------------------------

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
