"""Random schedules: a seed decides the cluster's shape, its faults and when they strike.

What is done is chosen as lines of commands.py, looking at the cluster as it is, and kept
as a Recording: the whole schedule, explicit, to be played again without this module.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from chaos.sim.cluster import REAL, STEP_S, Cluster
from chaos.sim.commands import Commands
from chaos.sim.host import Build, Host
from chaos.sim.invariants import Violation, crashes_are_violations
from chaos.sim.recording import Recording

NAMES = "ABCDEFGHIJ"
WATCHERS = ("fast", "slow")
ELECTION_CRASHES = 8
# How long before a snapshot arrives its receiver may begin one of its own, to be overtaken.
ABOUT_TO_S = 2 * STEP_S
# Disk operations that a fuse would seldom meet by counting all.
RARE = ("wipe", "names", "snapshot")


@dataclass(frozen=True)
class Plan:
    """How wild a schedule is. Probabilities are per step of STEP_S."""

    voters: int
    observers: int = 0
    spares: int = 0
    registers: int = 5
    seconds: float = 6.0
    weather: float = 0.01
    partition: float = 0.01
    one_way: float = 0.006
    heal: float = 0.012
    reset: float = 0.005
    stop: float = 0.004
    crash: float = 0.004
    overwrite_crash: float = 0.01
    rot: float = 0.004
    slow_disk: float = 0.004
    full_disk: float = 0.002
    snapshot: float = 0.012
    overtake: float = 0.3
    transfer: float = 0.008
    membership: float = 0.0
    write: float = 0.4
    read: float = 0.2
    watch: float = 0.004


def plan_of(seed: int) -> Plan:
    """Two of three clusters have 3 voters, half have observers, a third change their members;
    one of four is a power storm: slow disks, and cuts that take several nodes at once."""
    rng = random.Random(f"plan {seed}")
    plan = Plan(
        voters=rng.choice([3, 3, 5]),
        observers=rng.choice([0, 0, 1, 2]),
        spares=rng.choice([0, 0, 1]),
        registers=rng.choice([3, 5, 9]),
        seconds=rng.uniform(4, 8),
    )
    if rng.random() < 0.35:
        plan = replace(plan, membership=0.02, spares=max(plan.spares, 1 - plan.observers))
    if rng.random() < 0.25:
        return replace(plan, stop=0.02, crash=0.01, slow_disk=0.03, partition=0.02, heal=0.03, snapshot=0.004)
    return plan


class Schedule:
    """One run of one seed. `recording`: what it did, up to where it came."""

    def __init__(self, seed: int, build: Build = REAL, trace: bool = False, plan: Plan | None = None) -> None:
        self.plan = plan = plan or plan_of(seed)
        ends = (plan.voters, plan.voters + plan.observers, plan.voters + plan.observers + plan.spares)
        header = ["cluster", *NAMES[: ends[0]]]
        header += ["observers", *NAMES[ends[0] : ends[1]]] if plan.observers else []
        header += ["spare", *NAMES[ends[1] : ends[2]]] if plan.spares else []
        self._commands = Commands(build)
        self._lines: list[tuple[int, str]] = []
        self._header = " ".join([*header, "seed", str(seed)])
        self._commands.do(self._header)
        if trace:
            self.cluster.lines = []
        self._rng = random.Random(f"faults {seed}")
        self._restart_at: dict[str, float] = {}
        self._room_at: dict[str, float] = {}
        self._count = 0

    @property
    def cluster(self) -> Cluster:
        return self._commands.cluster

    @property
    def recording(self) -> Recording:
        return Recording(self._header, tuple(self._lines), self.cluster.steps)

    def run(self) -> Cluster:
        """Raises a Violation."""
        with crashes_are_violations():
            for _ in range(round(self.plan.seconds / STEP_S)):
                self._faults()
                self._ask()
                self.cluster.step()
            self._do("settle")
        return self.cluster

    def violation(self) -> Violation | None:
        """As run, with the violation as an answer."""
        try:
            self.run()
        except Violation as violation:
            return violation
        return None

    # --- inside --------------------------------------------------------------------------

    def _do(self, line: str) -> None:
        self._lines.append((self.cluster.steps, line))
        self._commands.do(line)

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _someone(self) -> Host:
        """Any host; a leader as often as not, since that is where it hurts."""
        leaders = self.cluster.leaders()
        if leaders and self._rng.random() < 0.4:
            return self.cluster.hosts[self._rng.choice(leaders)]
        return self.cluster.hosts[self._rng.choice(self.cluster.ids)]

    def _faults(self) -> None:
        plan = self.plan
        if self._chance(plan.weather):
            self._change_weather()
        if self._chance(plan.partition):
            self._partition()
        if self._chance(plan.one_way):
            self._do("cut {} > {}".format(*self._rng.sample(self.cluster.ids, 2)))
        if self._chance(plan.heal):
            self._do("heal")
        if self._chance(plan.reset):
            self._do("reset {} {}".format(*self._rng.sample(self.cluster.ids, 2)))
        self._disks()
        self._processes()
        self._operators()

    def _partition(self) -> None:
        rng, ids = self._rng, self.cluster.ids
        self._do("heal")
        if len(ids) > 3 and rng.random() < 0.3:
            self._do("ring")
        elif rng.random() < 0.3:
            self._do(f"isolate {self._someone().id}")
        else:
            self._do(f"split {' '.join(rng.sample(ids, rng.choice([1, 1, 2])))}")

    def _change_weather(self) -> None:
        rng = self._rng
        loss, duplicate = rng.choice(["0", "0", "0.02", "0.2"]), rng.choice(["0", "0", "0.1"])
        reorder, delay = rng.choice(["0", "0", "0.3", "1"]), rng.choice(["0.004", "0.02", "0.08"])
        self._do(f"weather {loss} {duplicate} {reorder} {delay}")
        for _ in range(rng.choice([0, 0, 1, 3])):
            self._do("drag {} {}".format(*rng.sample(self.cluster.ids, 2)))

    def _disks(self) -> None:
        rng, plan, now = self._rng, self.plan, self.cluster.now
        if self._chance(plan.slow_disk):
            # The last one stalls, for longer than a leader waits for its disk.
            self._do(f"slow {self._someone().id} {rng.choice(['0.02', '0.1', '0.5', '0.5', ''])}".rstrip())
        if self._chance(plan.full_disk):
            host = self._someone()
            self._do(f"fill {host.id} {rng.randint(0, 2000)}")
            self._room_at[host.id] = now + rng.uniform(0.1, 2)
        for host_id, at in list(self._room_at.items()):
            if at <= now:
                del self._room_at[host_id]
                self._do(f"free {host_id}")

    def _processes(self) -> None:
        rng, cluster = self._rng, self.cluster
        for host in cluster.hosts.values():
            if not host.up and host.id not in self._restart_at:
                self._restart_at[host.id] = cluster.now + rng.uniform(0.05, 1.5)
        for host_id, at in list(self._restart_at.items()):
            if at <= cluster.now:
                del self._restart_at[host_id]
                self._do(f"start {host_id}")
        if self._chance(self.plan.stop):
            count = rng.choice([1, 1, 1, 2, len(cluster.ids)])
            how, back = rng.choice(["torn", "torn", "torn", "kill"]), cluster.now + rng.uniform(0.05, 1.5)
            for host in rng.sample(cluster.running(), min(count, len(cluster.running()))):
                self._do(f"stop {host.id} {how}")
                self._restart_at[host.id] = back if rng.random() < 0.5 else back + rng.uniform(0, 1)
        # Elections are short, and the promises that are made in them are what a crash can break.
        if self._chance(self.plan.crash * (1 if cluster.leaders() else ELECTION_CRASHES)):
            host = self._someone()
            rare = f" {rng.choice(RARE)}" if rng.random() < 0.3 else ""
            self._do(f"crash {host.id} {rng.randint(1, 3 if rare else 8)}{rare}")
            self._restart_at[host.id] = cluster.now + rng.uniform(0.02, 0.3)
        for host in cluster.running():
            if host.disk.writes_over and self._chance(self.plan.overwrite_crash):
                self._do(f"crash {host.id} {rng.randint(1, 3)} overwrite")
        if self._chance(self.plan.rot):
            spared = [host.id for host in cluster.running() if cluster.spares(host)]
            if spared:
                unlucky = rng.choice(spared)
                self._do(f"stop {unlucky} torn")
                self._do(f"rot {unlucky} {rng.getrandbits(24)}")

    def _operators(self) -> None:
        rng, cluster = self._rng, self.cluster
        running = cluster.running()
        if running and self._chance(self.plan.snapshot):
            self._do(f"snapshot {rng.choice(running).id} {rng.choice([0, 5, 50])}")
        for target in cluster.receiving(ABOUT_TO_S):
            if self._chance(self.plan.overtake):
                self._do(f"snapshot {target} {rng.choice([0, 5, 50])}")
        leaders = [host for host in running if host.node.is_leader]
        if not leaders:
            return
        leader = rng.choice(leaders)
        if self._chance(self.plan.transfer):
            self._do(f"transfer {leader.id} {rng.choice(cluster.ids)}")
        if self._chance(self.plan.membership):
            # Anyone, and often two at once, which must be refused.
            for _ in range(rng.choice([1, 2])):
                someone = rng.choice(cluster.ids)
                removes = someone in leader.node.voters and len(leader.node.voters) > 2
                self._do(f"{'remove' if removes else 'add'} {leader.id} {someone}")

    def _ask(self) -> None:
        """Clients: new writes, retries through any replica, reads; watchers that move."""
        rng, cluster = self._rng, self.cluster
        running = cluster.running()
        if not running:
            return
        if self._chance(self.plan.write):
            self._count += 1
            register, host = f"r{rng.randrange(self.plan.registers)}", rng.choice(running)
            guard = f" if {host.machine.register(register)[1]}" if rng.random() < 0.15 else ""
            self._do(f"submit w{self._count} {register} {host.id}{guard}{self._lost()}")
        for request_id in cluster.clients.due():
            register = cluster.clients.register_of(request_id)
            self._do(f"submit {request_id} {register} {rng.choice(running).id}{self._lost()}")
        if self._chance(self.plan.read):
            self._do(f"query r{rng.randrange(self.plan.registers)} {rng.choice(running).id}")
        for name in WATCHERS:
            watcher = cluster.watchers.get(name)
            alone = watcher is None or not watcher.connected
            if self._chance(0.1 if alone else self.plan.watch):
                self._do(f"watch {name} {rng.choice(running).id}")

    def _lost(self) -> str:
        return " lost" if self._rng.random() < 0.1 else ""
