"""What a replica has around its node: the real forwarder, intake, waits and feed, on virtual time.

The wiring is that of raftstore/replica.py, turn by turn. A client's write goes from any
replica to the leader, shares an entry with others, and is answered once this replica has
applied it. A read asks for an index by ReadIndex and waits until it is applied here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from raftstore import forward
from raftstore.errors import StoreError
from raftstore.forward import Answer, Forwarder, Intake, OnOutcome, Request
from raftstore.machine import Applied
from raftstore.types import Outcome
from raftstore.waits import AppliedWaits

if TYPE_CHECKING:
    from chaos.sim.host import Host

# Few, so that slow watchers meet `compacted`, and resumed ones sometimes do.
FEED_COMMITS = 40


class Front:
    """Made for each life of a host, after its node."""

    def __init__(self, host: Host) -> None:
        self._host = host
        node, now = host.node, host.cluster.now
        self._node = node
        self.forwarder = Forwarder(4 * host.config.election_timeout_max_s, now, rng=host.rng)
        self.intake = Intake(
            propose=node.propose,
            answer=self._answer,
            time_ms=lambda: int(host.cluster.now * 1000),
            refusal=self._refusal,
        )
        self.waits = AppliedWaits()
        self.waits.applied(node.applied_index)
        self.feed = host.build.feed(host.machine.state, commits_max=FEED_COMMITS)
        node.on_applied = self._applied

    # --- clients -------------------------------------------------------------------------

    def submit(self, txn: bytes, timeout_s: float, on_done: OnOutcome) -> None:
        """As Replica.submit_encoded."""
        now = self._host.cluster.now
        deadline = now + timeout_s

        def decided(result: Outcome | StoreError) -> None:
            if isinstance(result, StoreError):
                on_done(result)
                return
            late = StoreError(f"index {result.index} is not applied here yet")
            self.waits.add(result.index, deadline, lambda there: on_done(result if there else late))

        try:
            self.forwarder.submit(txn, deadline, now, decided)
        except StoreError as error:
            on_done(error)

    def read(self, timeout_s: float, on_done: Callable[[bool], None]) -> None:
        """on_done(True): what this replica holds now is linearizable. False: not known."""
        deadline = self._host.cluster.now + timeout_s

        def confirmed(index: int | None) -> None:
            if index is None:
                on_done(False)
            else:
                self.waits.add(index, deadline, on_done)

        self._node.read_index(confirmed)

    # --- the turn ------------------------------------------------------------------------

    def before_tick(self) -> None:
        now = self._host.cluster.now
        self.forwarder.tick(now)
        self.waits.tick(now)
        leader = self._node.leader
        if leader is not None and (leader == self._host.id or self._host.cluster.hosts[leader].up):
            self.forwarder.set_route(leader, now)
        else:
            self.forwarder.set_route(None, now, "no leader")
        for request in self.forwarder.flush(now):
            self._forward(request)
        self.intake.flush()

    def peer_up(self) -> None:
        self.forwarder.hope(self._host.cluster.now)

    def frame(self, peer: str, frame: tuple[Any, ...]) -> None:
        """One frame of a peer: transactions for the leader, or its answers."""
        if frame[0] == "submit":
            self.intake.offer(peer, *forward.request_from_wire(frame))
        else:
            self.forwarder.answered(*forward.answers_from_wire(frame), self._host.cluster.now)

    # --- the log -------------------------------------------------------------------------

    def published(self, index: int, applied: Applied) -> None:
        self.feed.publish(index, applied.events, self._host.machine.state, self._now_ms())

    def jumped(self) -> None:
        """The node took over a snapshot."""
        state = self._host.machine.state
        self.feed.jump(state.index, state, self._now_ms())

    def _applied(self, index: int) -> None:
        if self.feed.head < index:
            self.feed.publish(index, (), self._host.machine.state, self._now_ms())
        self.waits.applied(index)

    # --- inside --------------------------------------------------------------------------

    def _forward(self, request: Request) -> None:
        if request.to == self._host.id:
            self.intake.offer(self._host.id, request.epoch, request.seq, request.txns)
        else:
            self._send(request.to, forward.request_to_wire(request))

    def _answer(self, to: str, epoch: int, answers: list[Answer]) -> None:
        if to == self._host.id:
            self.forwarder.answered(epoch, answers, self._host.cluster.now)
        else:
            self._send(to, forward.answers_to_wire(epoch, answers))

    def _send(self, to: str, frame: tuple[Any, ...]) -> None:
        self._host.send_frame(to, frame)

    def _refusal(self) -> str:
        node = self._node
        if node.read_only_reason:
            return node.read_only_reason
        if not node.is_leader:
            return "this replica does not lead any more"
        return f"handing over to {node.transferring}" if node.transferring else ""

    def _now_ms(self) -> int:
        return int(self._host.cluster.now * 1000)
