"""Clients: writes with request ids, retried through any replica when the outcome is unknown; reads.

`submit` goes the way of real clients: through any replica's forwarder to the leader. `write`
proposes to one node directly, which is what golden and directed scripts want. What clients
saw becomes a history of operations on registers, judged at the end by the same checker of
linearizability that judges real processes (chaos/linearizability.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from chaos.linearizability import Operation
from chaos.sim.coverage import Reached
from chaos.sim.invariants import NotExactlyOnce, StaleRead
from chaos.sim.machine import command_of, txn_of
from raftstore.errors import StoreError
from raftstore.machine import Applied
from raftstore.node import Fate, ProposeResult
from raftstore.types import Outcome

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster

RETRY_AFTER_S = 0.4
TIMEOUT_S = 1.0
TRIES_MAX = 12


@dataclass
class History:
    """What clients know: acknowledged writes with their index, and every operation on a register."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    highest_index: int = 0
    reads: int = 0
    operations: list[Operation] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def told(self, request_id: str, outcome: Outcome) -> None:
        """Raises NotExactlyOnce when two answers to one request differ, seen by the client or not."""
        first = self.outcomes.setdefault(request_id, outcome)
        if first != outcome:
            raise NotExactlyOnce(f"{request_id} was answered {first} and {outcome}")


@dataclass
class Write:
    """One request; it is retried until its outcome is known or given up."""

    request_id: str
    next_try_at: float = 0.0
    register: str = ""
    expected: int | None = None
    called: float = 0.0
    tries: int = 0
    done: bool = False


class Clients:
    """Every answer is checked or remembered."""

    def __init__(self, cluster: Cluster, rng: Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._writes: dict[str, Write] = {}
        self._open: dict[str, Write] = {}
        self._count = 0
        # How often an answer does not reach its client in step(), which then must retry.
        self.lose_answers = 0.1
        self.give_up_after = TRIES_MAX

    # --- as real clients -----------------------------------------------------------------

    def submit(
        self,
        request_id: str,
        register: str,
        host_id: str,
        *,
        expected: int | None = None,
        lost: bool = False,
    ) -> Write:
        """A write of a register, or a retry of it, through `host_id`; lost: its answer will be."""
        now = self._cluster.now
        write = self._known(Write(request_id, 0, register, expected, now))
        host = self._cluster.hosts[host_id]
        if write.done or not host.up:
            return write
        write.tries += 1
        write.next_try_at = now + RETRY_AFTER_S * self._rng.uniform(0.5, 1.5)

        def answered(result: Outcome | StoreError) -> None:
            if isinstance(result, StoreError):
                self._cluster.trace(f"write {request_id} through {host_id}: {result}")
                write.next_try_at = min(write.next_try_at, self._cluster.now + 0.05)
                return
            self._cluster.trace(
                f"write {request_id} through {host_id}: index {result.index}{', answer lost' * lost}"
            )
            if request_id in self._cluster.history.outcomes:
                self._cluster.reached[Reached.RETRY_REMEMBERED] += 1
            self._cluster.history.told(request_id, result)
            if not lost and not write.done:
                self._acknowledged(write, result)

        host.front.submit(txn_of(request_id, write.register, write.expected), TIMEOUT_S, answered)
        return write

    def query(self, register: str, host_id: str) -> None:
        """A linearizable read of a register through `host_id`."""
        host = self._cluster.hosts[host_id]
        if not host.up:
            return
        called, floor = self._cluster.now, self._cluster.history.highest_index

        def answered(known: bool) -> None:
            if not known:
                return
            value, version = host.machine.register(register)
            stands_at = host.node.applied_index
            self._read(host_id, stands_at, floor)
            if not host.node.is_leader:
                voter = host_id in host.node.voters
                self._cluster.reached[Reached.READ_AT_FOLLOWER if voter else Reached.READ_AT_OBSERVER] += 1
            self._cluster.trace(f"read of {register} through {host_id}: {value} of {version}")
            self._cluster.history.operations.append(
                Operation(host_id, register, called, self._cluster.now, read=value)
            )

        host.front.read(TIMEOUT_S, answered)

    def due(self) -> list[str]:
        """Requests that should be retried now, and have not been given up."""
        now = self._cluster.now
        return [
            write.request_id
            for write in self._open.values()
            if write.next_try_at <= now and write.tries < self.give_up_after
        ]

    def register_of(self, request_id: str) -> str:
        return self._writes[request_id].register

    def step(self, write_probability: float, read_probability: float) -> None:
        """Some client does something, as drawn; what is due is retried."""
        ids = [host.id for host in self._cluster.running()]
        if not ids:
            return
        if self._rng.random() < write_probability:
            self._count += 1
            self._try(f"w{self._count}", f"r{self._count % 5}")
        for request_id in self.due():
            self._try(request_id, self._writes[request_id].register)
        if self._rng.random() < read_probability:
            self.query(f"r{self._rng.randrange(5)}", self._rng.choice(ids))

    def insist(self, request_id: str) -> Write:
        """One write that is retried, by step(), without end."""
        self.give_up_after = 10**6
        return self._known(Write(request_id, 0, "last", None, self._cluster.now))

    def finish(self) -> None:
        """Nobody answers any more: what is open has an unknown outcome."""
        for write in self._open.values():
            if write.tries:
                self._cluster.history.operations.append(
                    Operation("client", write.register, write.called, None, write=write.request_id)
                )

    # --- to one node ---------------------------------------------------------------------

    def write(self, request_id: str, host_id: str) -> Write:
        """One write proposed to a given node, not retried by itself."""
        write = Write(request_id, float("inf"))
        history = self._cluster.history

        def answered(result: ProposeResult) -> None:
            self._cluster.trace(f"write {request_id} through {host_id}: {result.fate}")
            if result.fate is Fate.APPLIED:
                assert isinstance(result.applied, Applied)
                write.done = True
                history.acknowledged[request_id] = index = result.applied.outcomes[0].index
                history.highest_index = max(history.highest_index, index)

        self._cluster.hosts[host_id].node.propose(command_of(request_id, self._cluster.now), answered)
        return write

    def read(self, host_id: str) -> None:
        """The index of a linearizable read through a given node."""
        floor = self._cluster.history.highest_index

        def answered(index: int | None) -> None:
            if index is not None:
                self._cluster.trace(f"read through {host_id}: index {index}")
                self._read(host_id, index, floor)

        self._cluster.hosts[host_id].node.read_index(answered)

    # --- inside --------------------------------------------------------------------------

    def _known(self, write: Write) -> Write:
        """`write`, or what is known already by its request id."""
        if write.request_id not in self._writes:
            self._writes[write.request_id] = self._open[write.request_id] = write
        return self._writes[write.request_id]

    def _try(self, request_id: str, register: str) -> None:
        ids = [host.id for host in self._cluster.running()]
        lost = self._rng.random() < self.lose_answers
        if ids:
            self.submit(request_id, register, self._rng.choice(ids), lost=lost)

    def _acknowledged(self, write: Write, outcome: Outcome) -> None:
        write.done = True
        del self._open[write.request_id]
        history = self._cluster.history
        history.highest_index = max(history.highest_index, outcome.index)
        if not outcome.applied:
            self._cluster.reached[Reached.GUARD_REFUSES] += 1
            return
        history.acknowledged[write.request_id] = outcome.index
        history.operations.append(
            Operation("client", write.register, write.called, self._cluster.now, write=write.request_id)
        )

    def _read(self, host_id: str, index: int, floor: int) -> None:
        self._cluster.history.reads += 1
        if index < floor:
            raise StaleRead(f"a read through {host_id} saw index {index}; {floor} was acknowledged before")
