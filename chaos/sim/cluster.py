"""A simulated cluster: hosts, network, clients and checker on one virtual clock."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from chaos.sim.clients import Clients, History
from chaos.sim.host import Build, DiskSpeed, Host
from chaos.sim.invariants import Checker, NotConverged
from chaos.sim.network import Network
from raftstore.config import RaftConfig

STEP_S = 0.01
REAL = Build()


class Cluster:
    """Everything is drawn from `seed`. step() advances the clock by STEP_S and checks."""

    def __init__(
        self,
        ids: Sequence[str],
        seed: int = 0,
        *,
        build: Build = REAL,
        config: RaftConfig | None = None,
        spare: Sequence[str] = (),
    ) -> None:
        """spare: hosts that run, with an empty log and no say, until they are added."""
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.network = Network(random.Random(self.rng.random()))
        self.history = History()
        self.checker = Checker(self)
        self.clients = Clients(self, random.Random(self.rng.random()))
        self.build = build
        self.config = config or RaftConfig()
        self.lines: list[str] | None = None
        self._shipping: list[tuple[float, str, str, bytes]] = []
        self.hosts: dict[str, Host] = {}
        for host_id in [*ids, *spare]:
            voters = () if host_id in spare else tuple(ids)
            rng = random.Random(self.rng.random())
            self.hosts[host_id] = Host(host_id, self, voters, build, self.config, rng)
        for host_id in self.hosts:
            self.start(host_id)

    @property
    def ids(self) -> list[str]:
        return list(self.hosts)

    def running(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.up]

    def leaders(self) -> list[str]:
        return [host.id for host in self.running() if host.node.is_leader]

    def trace(self, text: str) -> None:
        if self.lines is not None:
            self.lines.append(f"{self.now - 1000:8.2f}  {text}")

    # --- processes -----------------------------------------------------------------------

    def start(self, host_id: str) -> None:
        host = self.hosts[host_id]
        host.start()
        host.node.on_role = lambda role, leader, term: self.trace(
            f"{host_id}: {role} of term {term}, leader {leader}"
        )
        self.checker.restarted(host_id, host.node.applied_index)
        self.trace(f"{host_id} starts at term {host.node.term}, index {host.node.last_index}")
        for other in self.running():
            if other.id != host_id:
                other.node.peer_up(host_id)
                host.node.peer_up(other.id)

    def stop(self, host_id: str, *, power: bool = True, torn: bool = False) -> None:
        """power: lose what is not synced, or with `torn` a part of it; else as kill -9."""
        host = self.hosts[host_id]
        if not host.up:
            return
        if power:
            host.power_cut(torn=torn)
        else:
            host.kill()
        self.trace(f"{host_id} {'loses power' if power else 'is killed'}")
        for other in self.running():
            other.node.peer_down(host_id)

    def ship_snapshot(self, source: str, target: str) -> None:
        """Out of band, once at a time per target, in one virtual tenth of a second."""
        stored = self.hosts[source].stored_snapshot()
        if stored is None or any(item[2] == target for item in self._shipping):
            return
        self.trace(f"{source} ships its snapshot to {target}")
        self._shipping.append((self.now + 0.1, source, target, stored))

    # --- time ----------------------------------------------------------------------------

    def step(self) -> None:
        self.now += STEP_S
        self.network.now = self.now
        for source, target, message in self.network.due():
            host = self.hosts[target]
            if host.up:
                bad = host.node.receive(source, message)
                if bad is not None:
                    self.trace(f"{target} refuses a message of {source}: {bad.reason}")
        self._deliver_snapshots()
        for host in self.running():
            host.tick()
        self.checker.look()

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Step for `seconds`, or until `until` holds; whether it did (True without one)."""
        end = self.now + seconds
        while self.now < end:
            self.step()
            if until is not None and until():
                return True
        return until is None

    def elect(self, seconds: float = 10.0) -> str:
        """Run until one node leads and all running voters follow it; who."""
        if not self.run(seconds, self._settled):
            raise NotConverged(f"no single leader within {seconds} s: {self.leaders()}")
        return self.leaders()[0]

    def let_lead(self, who: str, seconds: float = 5.0) -> None:
        """Let `who` win the next election: its timer runs out first, the others' later.

        Timers are random and processes may stall, so this is one of the legal schedules.
        """

        fire_at = self.now

        def won() -> bool:
            nonlocal fire_at
            for host in self.running():
                if host.id != who:
                    host.node.election_deadline = self.now + 1.0
            if self.hosts[who].node.is_leader:
                return True
            if self.now >= fire_at:
                # Not at each step: votes need time to travel.
                fire_at = self.now + 0.1
                self.hosts[who].node.election_deadline = 0.0
            return False

        if not self.run(seconds, won):
            raise NotConverged(f"{who} does not become leader within {seconds} s")

    def settle(self, seconds: float = 30.0) -> None:
        """Heal everything, restart everyone, wait until all agree and one more write succeeds."""
        self.network.heal()
        self.clients.lose_answers = 0.0
        for host in self.hosts.values():
            host.free_disk()
            host.speed = DiskSpeed()
            if not host.up:
                self.start(host.id)
        last = self.clients.insist("last")

        def quiet() -> bool:
            self.clients.step(0.0, 0.0)
            return last.done and self._equal()

        if not self.run(seconds, quiet):
            state = {h.id: (h.node.role, h.node.term, h.node.applied_index) for h in self.running()}
            raise NotConverged(f"{seconds} s after the faults ended: {state}")
        self.checker.final()

    def reaches(self, one: str, other: str) -> bool:
        """Whether messages can go both ways between two running nodes, now."""
        cut = self.network.cut
        return self.hosts[other].up and (one, other) not in cut and (other, one) not in cut

    # --- inside --------------------------------------------------------------------------

    def _settled(self) -> bool:
        leaders = self.leaders()
        if len(leaders) != 1:
            return False
        voters = self.hosts[leaders[0]].node.voters
        return all(self.hosts[v].node.leader == leaders[0] for v in voters if self.hosts[v].up)

    def _equal(self) -> bool:
        leaders = self.leaders()
        if len(leaders) != 1:
            return False
        voters = self.hosts[leaders[0]].node.voters
        states = {(self.hosts[v].node.applied_index, self.hosts[v].node.commit_index) for v in voters}
        return len(states) == 1

    def _deliver_snapshots(self) -> None:
        for item in [item for item in self._shipping if item[0] <= self.now]:
            self._shipping.remove(item)
            _, source, target, data = item
            if self.hosts[target].up and (source, target) not in self.network.cut:
                self.hosts[target].install_snapshot(data)
                self.trace(f"{target} stands at {self.hosts[target].node.applied_index} by a snapshot")
