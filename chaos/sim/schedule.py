"""Random schedules: a seed decides the cluster's size, its faults and when they strike."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from chaos.sim.cluster import REAL, STEP_S, Cluster
from chaos.sim.host import Build, DiskSpeed
from chaos.sim.invariants import crashes_are_violations
from chaos.sim.network import Weather
from raftstore.node import ProposeResult


@dataclass(frozen=True)
class Plan:
    """How wild a schedule is. Probabilities are per step of STEP_S."""

    voters: int
    spares: int
    seconds: float
    weather: float = 0.01
    partition: float = 0.01
    one_way: float = 0.006
    heal: float = 0.01
    stop: float = 0.004
    slow_disk: float = 0.004
    full_disk: float = 0.002
    snapshot: float = 0.01
    transfer: float = 0.004
    membership: float = 0.01
    write: float = 0.5
    read: float = 0.2


def plan_of(seed: int) -> Plan:
    """Two of three clusters have 3 voters; one of three changes its members; one of four is a
    power storm: slow disks, and cuts that take several nodes at once."""
    rng = random.Random(f"plan {seed}")
    voters = rng.choice([3, 3, 5])
    plan = Plan(voters, spares=rng.choice([0, 0, 2]), seconds=rng.uniform(5, 10))
    if rng.random() < 0.25:
        return replace(plan, spares=0, stop=0.02, slow_disk=0.03, partition=0.02, heal=0.03, snapshot=0.002)
    return plan


class Schedule:
    """One run of one seed."""

    def __init__(self, seed: int, build: Build = REAL, trace: bool = False, plan: Plan | None = None) -> None:
        self.plan = plan or plan_of(seed)
        names = "ABCDEFGH"
        ids, spare = names[: self.plan.voters], names[self.plan.voters :][: self.plan.spares]
        self.cluster = Cluster(list(ids), seed, build=build, spare=list(spare))
        if trace:
            self.cluster.lines = []
        self._rng = random.Random(f"faults {seed}")
        self._restart_at: dict[str, float] = {}
        self._room_at: dict[str, float] = {}

    def run(self) -> Cluster:
        """Raises a Violation."""
        with crashes_are_violations():
            self._run()
        return self.cluster

    def _run(self) -> None:
        for _ in range(round(self.plan.seconds / STEP_S)):
            self._faults()
            self.cluster.clients.step(self.plan.write, self.plan.read)
            self.cluster.step()
        self.cluster.settle()

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _faults(self) -> None:
        plan, rng, network, cluster = self.plan, self._rng, self.cluster.network, self.cluster
        if self._chance(plan.weather):
            self._change_weather()
        if self._chance(plan.partition):
            network.cut.clear()
            network.split(rng.sample(cluster.ids, rng.choice([1, 1, 2])), cluster.ids)
            cluster.trace(f"partition: {sorted(network.cut)}")
        if self._chance(plan.one_way):
            one, other = rng.sample(cluster.ids, 2)
            network.cut.add((one, other))
            cluster.trace(f"{one} no longer reaches {other}")
        if self._chance(plan.heal):
            network.cut.clear()
            cluster.trace("partitions heal")
        if self._chance(plan.slow_disk):
            host = rng.choice(list(cluster.hosts.values()))
            host.speed = DiskSpeed(0.0005, rng.choice([0.004, 0.1, 0.5]))
        if self._chance(plan.full_disk):
            host = rng.choice(list(cluster.hosts.values()))
            host.fill_disk(rng.randint(0, 2000))
            self._room_at[host.id] = cluster.now + rng.uniform(0.1, 2)
        for host_id, at in list(self._room_at.items()):
            if at <= cluster.now:
                del self._room_at[host_id]
                cluster.hosts[host_id].free_disk()
        self._processes()
        self._operators()

    def _change_weather(self) -> None:
        rng, network, ids = self._rng, self.cluster.network, self.cluster.ids
        network.weather = Weather(
            loss=rng.choice([0, 0, 0.02, 0.2]),
            duplicate=rng.choice([0, 0, 0.1]),
            reorder=rng.choice([0, 0, 0.3, 1]),
            delay_max_s=rng.choice([0.004, 0.02, 0.08]),
        )
        pairs = [(one, other) for one in ids for other in ids if one != other]
        network.slow = set(rng.sample(pairs, rng.choice([0, 0, 1, 3])))

    def _processes(self) -> None:
        rng, cluster = self._rng, self.cluster
        for host_id, at in list(self._restart_at.items()):
            if at <= cluster.now:
                del self._restart_at[host_id]
                cluster.start(host_id)
        if self._chance(self.plan.stop):
            count = rng.choice([1, 1, 1, 2, len(cluster.ids)])
            power, back = rng.random() < 0.8, cluster.now + rng.uniform(0.05, 1.5)
            for host in rng.sample(cluster.running(), min(count, len(cluster.running()))):
                cluster.stop(host.id, power=power, torn=True)
                self._restart_at[host.id] = back if rng.random() < 0.5 else back + rng.uniform(0, 1)

    def _operators(self) -> None:
        rng, cluster = self._rng, self.cluster
        running = cluster.running()
        if running and self._chance(self.plan.snapshot):
            rng.choice(running).take_snapshot(keep_entries=rng.choice([0, 5, 50]))
        leaders = [host for host in running if host.node.is_leader]
        if not leaders:
            return
        leader = rng.choice(leaders)
        if self._chance(self.plan.transfer):
            leader.node.transfer_leadership(rng.choice(cluster.ids))
        if self.plan.spares and self._chance(self.plan.membership):
            self._change_members(leader.id)

    def _change_members(self, leader: str) -> None:
        """Add or remove anyone; often two at once, which must be refused."""
        rng, cluster = self._rng, self.cluster
        node = cluster.hosts[leader].node

        def told(result: ProposeResult) -> None:
            cluster.trace(f"membership change at {leader}: {result.fate} {result.reason}")

        for _ in range(rng.choice([1, 2])):
            someone = rng.choice(cluster.ids)
            if someone in node.voters and len(node.voters) > 2:
                node.remove_member(someone, told)
            else:
                node.add_member(someone, told)
