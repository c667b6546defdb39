"""A simulated cluster: hosts, network, clients, watchers and checker on one virtual clock.

time passes by step(): messages arrive, each host takes its turn, watchers read, the checker looks
things happen between two steps: a host stops, a link is cut, a client asks (commands.py)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from chaos.sim.chance import Chance
from chaos.sim.clients import Clients, History
from chaos.sim.coverage import Coverage, Reached
from chaos.sim.disk import PowerLost
from chaos.sim.host import Build, DiskSpeed, Host
from chaos.sim.invariants import Checker, NotConverged, TornWriteRefused
from chaos.sim.network import Network
from chaos.sim.watchers import Watcher
from raftstore import entries
from raftstore.config import RaftConfig
from raftstore.errors import Corrupt, WrongDataDir
from raftstore.node import LEADER

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
        observers: Sequence[str] = (),
    ) -> None:
        """spare: hosts that run, with an empty log and no say, until they are added.

        observers: hosts that are replicated to from the start, and have no say either.
        """
        self.seed = seed
        self.steps = 0
        self.now = 1000.0
        self.network = Network(self.chance)
        self.history = History()
        self.reached = Coverage()
        self.checker = Checker(self)
        self.clients = Clients(self, self.chance("clients"))
        self.watchers: dict[str, Watcher] = {}
        self.build = build
        self.config = config or RaftConfig()
        self.lines: list[str] | None = None
        self._shipping: list[tuple[float, str, str, bytes]] = []
        self._shipping_time = self.chance("shipping")
        # To whom leadership is being handed over, and since when.
        self.handing_over: dict[str, float] = {}
        self.hosts: dict[str, Host] = {}
        for host_id in [*ids, *observers, *spare]:
            self.hosts[host_id] = Host(
                host_id,
                self,
                voters=() if host_id in spare else tuple(ids),
                # A voter that is removed is an observer from then on, where there are any.
                observers=tuple(each for each in [*ids, *observers] if each != host_id) if observers else (),
                build=build,
                config=self.config,
                rng=self.chance(f"{host_id} process"),
                disk_rng=self.chance(f"{host_id} disk"),
            )
        for host_id in self.hosts:
            self.start(host_id)

    def chance(self, place: str) -> Chance:
        """The draws of one place."""
        return Chance(self.seed, place, lambda: self.steps)

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

    def start(self, host_id: str, *, rebuild: bool = True) -> bool:
        """Whether it is up now. rebuild: a log that is rotten is set aside, else Corrupt is raised."""
        host = self.hosts[host_id]
        if host.up:
            return True
        with self._may_lose_power(host):
            try:
                host.start()
            except (Corrupt, WrongDataDir) as error:
                if not rebuild:
                    raise
                if not host.rotten:
                    raise TornWriteRefused(
                        f"{host_id} refuses a log that no bit of is rotten: {error}"
                    ) from error
                # WrongDataDir: where that byte tells the format, nothing tells it from a later release's.
                self.trace(f"{host_id} is set aside: {error}")
                host.set_aside()
                host.start()
            self._started(host)
        return host.up

    def _started(self, host: Host) -> None:
        led = False

        def role_changed(role: str, leader: str | None, term: int) -> None:
            nonlocal led
            self.trace(f"{host.id}: {role} of term {term}, leader {leader}")
            if led != (role == LEADER):
                led = role == LEADER
                self._leadership_changed(host)

        host.node.on_role = role_changed
        self.checker.restarted(host.id, host.node.applied_index)
        self.trace(f"{host.id} starts at term {host.node.term}, index {host.node.last_index}")
        for other in self.running():
            if other.id != host.id:
                self._connect(host, other)

    def _leadership_changed(self, host: Host) -> None:
        """Count what it tells of."""
        node = host.node
        if node.is_leader:
            if (
                self.now - self.handing_over.pop(host.id, float("-inf"))
                < 2 * self.config.election_timeout_max_s
            ):
                self.reached[Reached.HANDED_OVER] += 1
            if host.wal.positions(entries.MEMBERSHIP, node.commit_index + 1 - host.wal.first_index):
                self.reached[Reached.CHANGE_INHERITED] += 1
        elif node.read_only_reason:
            stalls = "stalls" in node.read_only_reason
            self.reached[Reached.STALLED_STEPS_DOWN if stalls else Reached.FULL_STEPS_DOWN] += 1
        elif not any(self.reaches(host.id, voter) for voter in node.voters if voter != host.id):
            self.reached[Reached.FENCED] += 1

    def _connect(self, one: Host, other: Host) -> None:
        self.network.disconnect(one.id, other.id)
        for host, peer in ((other, one.id), (one, other.id)):
            host.node.peer_up(peer)
            host.front.peer_up()

    def reset(self, one: str, other: str) -> None:
        """The connection between two hosts breaks, and is made again."""
        hosts = self.hosts[one], self.hosts[other]
        self.network.disconnect(one, other)
        if all(host.up for host in hosts):
            hosts[0].node.peer_down(other)
            hosts[1].node.peer_down(one)
            self._connect(*hosts)

    @contextmanager
    def _may_lose_power(self, host: Host) -> Iterator[None]:
        """For the turns of one host, whose fuse may burn through (disk.py)."""
        try:
            yield
        except PowerLost:
            self.reached[Reached.LOST_AT_START] += not host.up
            host.power_cut(torn=True)
            self._gone(host.id, "loses power in the middle of something")

    def _gone(self, host_id: str, how: str) -> None:
        self.trace(f"{host_id} {how}")
        for other in self.running():
            self.network.disconnect(host_id, other.id)
            other.node.peer_down(host_id)

    def stop(self, host_id: str, *, power: bool = True, torn: bool = False) -> None:
        """power: lose what is not synced, or with `torn` a part of it; else as kill -9."""
        host = self.hosts[host_id]
        if not host.up:
            return
        if power:
            host.power_cut(torn=torn)
        else:
            host.kill()
        self._gone(host_id, "loses power" if power else "is killed")

    def watch(self, name: str, host_id: str, *, slow: bool = False) -> None:
        """Let the watcher `name`, a new one if need be, go on at `host_id`."""
        if name not in self.watchers:
            self.watchers[name] = Watcher(name, self, slow=slow)
        self.watchers[name].connect(host_id)

    def ship_snapshot(self, source: str, target: str) -> None:
        """Out of band, once at a time per target, in up to a second, however the members change meanwhile."""
        stored = self.hosts[source].stored_snapshot()
        if stored is None or any(item[2] == target for item in self._shipping):
            return
        self.trace(f"{source} ships its snapshot to {target}")
        self._shipping.append((self.now + self._shipping_time.uniform(0.05, 1.0), source, target, stored))

    # --- time ----------------------------------------------------------------------------

    def step(self) -> None:
        self.steps += 1
        self.now = 1000.0 + self.steps * STEP_S
        self.network.now = self.now
        self._mend_connections()
        for source, target, message in self.network.due():
            host = self.hosts[target]
            if host.up:
                with self._may_lose_power(host):
                    bad = host.receive(source, message)
                    if bad is not None:
                        self.trace(f"{target} refuses a message of {source}: {bad.reason}")
        self._deliver_snapshots()
        for host in self.running():
            with self._may_lose_power(host):
                host.tick()
        for watcher in self.watchers.values():
            watcher.step(self.steps)
        self.checker.look()

    def _mend_connections(self) -> None:
        cut = self.network.cut
        for one, other in sorted(self.network.broken):
            if (one, other) not in cut and (other, one) not in cut:
                self.reset(one, other)

    def run(self, seconds: float, until: Callable[[], bool] | None = None) -> bool:
        """Step for `seconds`, or until `until` holds; whether it did (True without one)."""
        for _ in range(max(1, round(seconds / STEP_S))):
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
            host.disk.put_out()
            host.free_disk()
            host.speed = DiskSpeed()
            self.start(host.id)
        for watcher in self.watchers.values():
            if not watcher.connected:
                watcher.connect(self.ids[0])
        last = self.clients.insist("last")

        def quiet() -> bool:
            self.clients.step(0.0, 0.0)
            return last.done and self._equal()

        if not self.run(seconds, quiet):
            state = {h.id: (h.node.role, h.node.term, h.node.applied_index) for h in self.running()}
            raise NotConverged(f"{seconds} s after the faults ended: {state}")
        self.clients.finish()
        self.checker.final()
        for watcher in self.watchers.values():
            watcher.drain()
            watcher.final()

    def reaches(self, one: str, other: str) -> bool:
        """Whether messages can go both ways between two running nodes, now."""
        cut = self.network.cut
        return self.hosts[other].up and (one, other) not in cut and (other, one) not in cut

    def spares(self, host: Host) -> bool:
        """Whether the others can do without what this voter's disk holds: what two disks lose together
        is lost."""
        others = [other for other in self.hosts.values() if other is not host]
        if host.recovering or any(o.recovering or not o.up or o.rejoining.wanted for o in others):
            return False
        voters = {other.node.voters for other in others} | {host.node.voters if host.up else host.left_voters}
        if len(voters) != 1 or host.id not in min(voters) or len(min(voters)) < 3:
            return False
        return any(other.node.is_leader and other.node.membership_committed() for other in others)

    def replicated(self, leader: str) -> list[str]:
        """Who is sent the log: the voters and the observers; not a spare, nor who was removed where there are none."""
        host = self.hosts[leader]
        return sorted({*host.node.voters, *host.observers})

    def receiving(self, within_s: float) -> list[str]:
        """To whom snapshots come within `within_s`."""
        return [target for due, _, target, _ in self._shipping if due <= self.now + within_s]

    # --- inside --------------------------------------------------------------------------

    def _settled(self) -> bool:
        leaders = self.leaders()
        if len(leaders) != 1:
            return False
        voters = self.hosts[leaders[0]].node.voters
        return all(self.hosts[v].node.leader == leaders[0] for v in voters if self.hosts[v].up)

    def _equal(self) -> bool:
        if any(host.recovering or host.rejoining.wanted for host in self.running()):
            return False
        leaders = self.leaders()
        if len(leaders) != 1:
            return False
        nodes = [self.hosts[each].node for each in self.replicated(leaders[0])]
        return len({(node.applied_index, node.commit_index) for node in nodes}) == 1

    def _deliver_snapshots(self) -> None:
        for item in [item for item in self._shipping if item[0] <= self.now]:
            self._shipping.remove(item)
            _, source, target, data = item
            host, of = self.hosts[target], self.hosts[source]
            if not host.up or (source, target) in self.network.cut:
                self.reached[Reached.SHIPPING_BROKEN] += 1
            else:
                if not (of.up and of.node.is_leader):
                    self.reached[Reached.SHIPPED_BY_DEPOSED] += 1
                with self._may_lose_power(host):
                    host.install_snapshot(data)
                    self.trace(f"{target} stands at {host.node.applied_index} by a snapshot")
