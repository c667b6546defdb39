"""Clients: writes with request ids that are retried when the outcome is unknown, and linearizable reads."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaos.sim.invariants import StaleRead
from chaos.sim.machine import command_of
from raftstore.machine import Applied
from raftstore.node import Fate, ProposeResult

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster

RETRY_AFTER_S = 0.4
TRIES_MAX = 12


@dataclass
class History:
    """What clients know: which writes were acknowledged, and the highest index of them."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    highest_index: int = 0
    reads: int = 0


@dataclass
class Write:
    """One request; it is retried until acknowledged or given up."""

    request_id: str
    next_try_at: float
    tries: int = 0
    done: bool = False


class Clients:
    """Issue requests at random; every answer is checked or remembered."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._open: list[Write] = []
        self._count = 0
        # How often an answer does not reach its client, which then must retry.
        self.lose_answers = 0.1
        self.give_up_after = TRIES_MAX

    def step(self, write_probability: float, read_probability: float) -> None:
        if self._rng.random() < write_probability:
            self._count += 1
            self._open.append(Write(f"w{self._count}", self._cluster.now))
        for write in self._open:
            if not write.done and write.next_try_at <= self._cluster.now:
                self._try(write)
        self._open = [w for w in self._open if not w.done and w.tries < self.give_up_after]
        if self._rng.random() < read_probability:
            self.read()

    def insist(self, request_id: str) -> Write:
        """One write that is retried, by step(), without end."""
        self.give_up_after = 10**6
        write = Write(request_id, self._cluster.now)
        self._open.append(write)
        return write

    def write(self, request_id: str, host_id: str) -> Write:
        """One write through a given host, not retried by itself."""
        write = Write(request_id, float("inf"))
        self._propose(write, host_id)
        return write

    def read(self, host_id: str | None = None) -> None:
        """A linearizable read through a given or a random replica."""
        running = self._cluster.running()
        host = self._cluster.hosts[host_id] if host_id else (self._rng.choice(running) if running else None)
        if host is None:
            return
        history = self._cluster.history
        floor = history.highest_index

        def answered(index: int | None) -> None:
            if index is None:
                return
            history.reads += 1
            self._cluster.trace(f"read through {host.id}: index {index}")
            if index < floor:
                raise StaleRead(
                    f"a read through {host.id} saw index {index}; {floor} was acknowledged before"
                )

        host.node.read_index(answered)

    def _try(self, write: Write) -> None:
        write.tries += 1
        write.next_try_at = self._cluster.now + RETRY_AFTER_S * self._rng.uniform(0.5, 1.5)
        leaders = [host.id for host in self._cluster.running() if host.node.is_leader]
        if leaders:
            self._propose(write, self._rng.choice(leaders))

    def _propose(self, write: Write, host_id: str) -> None:
        history, lost = self._cluster.history, self._rng.random() < self.lose_answers

        def answered(result: ProposeResult) -> None:
            self._cluster.trace(f"write {write.request_id} through {host_id}: {result.fate}")
            if result.fate is Fate.APPLIED and not lost:
                assert isinstance(result.applied, Applied)
                index = result.applied.outcomes[0].index
                write.done = True
                history.acknowledged[write.request_id] = index
                history.highest_index = max(history.highest_index, index)

        self._cluster.hosts[host_id].node.propose(command_of(write.request_id, self._cluster.now), answered)
