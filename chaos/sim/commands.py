"""What can be done to a simulated cluster between two steps, each as one line of text.

The one vocabulary of golden scenarios, random schedules and shrunk scripts. A schedule
chooses lines at random and remembers them; so what it did can be read, cut down, kept in
a file and done again. A line that makes no sense any more, because an earlier one was left
out (to stop what is down, to retry what nobody asked), does nothing.

Nodes are letters, times are virtual seconds:

    cluster A B C [observers D] [spare E] [seed 7]       start them
    run 0.5                       let time pass
    settle                        end all faults; everybody must agree, and nothing be lost

    submit w1 r0 A [if 17] [lost] a client writes register r0 through A, or retries; `if`: only at that
                                  version; `lost`: the answer does not reach it
    query r0 B                    a linearizable read of r0 through B
    watch fast A  |  watch slow A a watcher goes on at A; the slow one reads little at a time

    cut A B   |  cut A > B        both ways, or only what A sends to B
    isolate A |  split A B  |  ring  |  heal             cut one, two sides, all but neighbours; end cuts
    weather 0.2 0.1 0.3 0.08      loss, duplication, reordering, longest delay
    drag A B                      what A sends to B takes seconds, across elections
    reset A B                     the connection breaks and is made again

    stop A [torn|kill]            power cut (`torn`: some unsynced bytes survive), or kill -9
    crash A 3 [overwrite]         power cut at A's third disk operation or message from now, or from when
                                  it starts; or at the third of one kind (chaos/sim/disk.py)
    start A                       back; with its log set aside, if that is corrupt
    rot A 1234                    one bit of A's disk flips, once A is stopped
    slow A [0.1]  |  fast A       A's disk takes that many seconds to sync (default: 5), or milliseconds
    fill A 500    |  free A       A's disk has 500 bytes left, or room again

    snapshot A [5]                A begins a snapshot, and then keeps so many entries of its log
    transfer A B                  A hands leadership to B
    add A D   |  remove A C       membership change through A
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

from chaos.sim.cluster import REAL, Cluster
from chaos.sim.coverage import Reached
from chaos.sim.disk import KINDS
from chaos.sim.host import Build, DiskSpeed
from chaos.sim.network import Weather
from raftstore.node import Fate, ProposeResult

STALLED_S = 5.0
_DONE = {"add": Reached.VOTER_ADDED, "remove": Reached.VOTER_REMOVED}
_CHANGED = {
    Fate.REFUSED: Reached.CHANGE_REFUSED,
    Fate.LOST: Reached.CHANGE_LOST,
    Fate.UNKNOWN: Reached.CHANGE_LOST,
}


class ScriptError(Exception):
    """The script asks for what is no command. (No StoreError, which would be a node's crash.)"""


def make_cluster(words: list[str], build: Build = REAL) -> Cluster:
    """The cluster of a line `cluster ...`, without that word."""
    groups: dict[str, list[str]] = {"": [], "observers": [], "spare": [], "seed": []}
    group = ""
    for word in words:
        if word in groups:
            group = word
        else:
            groups[group].append(word)
    seed = int(groups["seed"][0]) if groups["seed"] else 1
    return Cluster(groups[""], seed, build=build, spare=groups["spare"], observers=groups["observers"])


class Commands:
    """Carries out lines on one cluster, which `cluster` starts."""

    def __init__(self, build: Build = REAL) -> None:
        self._build = build
        self._cluster: Cluster | None = None
        self._commands: dict[str, Callable[..., object]] = {
            "cluster": self._start_cluster,
            "run": lambda seconds: self.cluster.run(float(seconds)),
            "settle": lambda: self.cluster.settle(),
            "submit": self._submit,
            "query": lambda register, through: self.cluster.clients.query(register, through),
            "watch": lambda name, at: self.cluster.watch(name, at, slow=name == "slow"),
            "cut": self._cut,
            "isolate": lambda who: self.cluster.network.isolate(who, self.cluster.ids),
            "split": lambda *side: self.cluster.network.split(list(side), self.cluster.ids),
            "ring": lambda: self.cluster.network.ring(self.cluster.ids),
            "heal": self._heal,
            "weather": self._weather,
            "drag": lambda one, other: self.cluster.network.slow.add((one, other)),
            "reset": lambda one, other: self.cluster.reset(one, other),
            "stop": self._stop,
            "crash": self._crash,
            "start": lambda who: self.cluster.start(who),
            "rot": self._rot,
            "slow": self._slow,
            "fast": self._fast,
            "fill": lambda who, room: self.cluster.hosts[who].fill_disk(int(room)),
            "free": lambda who: self.cluster.hosts[who].free_disk(),
            "snapshot": self._snapshot,
            "transfer": self._transfer,
            "add": self._add,
            "remove": self._remove,
        }

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise ScriptError("the first command is: cluster A B C")
        return self._cluster

    def do(self, line: str) -> None:
        """Raises a Violation; ScriptError for what is no command."""
        name, *arguments = line.split()
        command = self._commands.get(name)
        if command is None:
            raise ScriptError(f"no command {name!r}; there are {', '.join(sorted(self._commands))}")
        try:
            inspect.signature(command).bind(*arguments)
        except TypeError as error:
            raise ScriptError(f"{line!r}: {error}") from None
        command(*arguments)

    # --- commands ------------------------------------------------------------------------

    def _start_cluster(self, *words: str) -> None:
        self._cluster = make_cluster(list(words), self._build)

    def _submit(self, request_id: str, register: str, through: str, *how: str) -> None:
        expected = int(how[how.index("if") + 1]) if "if" in how else None
        self.cluster.clients.submit(request_id, register, through, expected=expected, lost="lost" in how)

    def _cut(self, one: str, *rest: str) -> None:
        cut = self.cluster.network.cut
        if rest[0] == ">":
            cut.add((one, rest[1]))
        else:
            cut |= {(one, rest[0]), (rest[0], one)}

    def _heal(self) -> None:
        self.cluster.network.cut.clear()

    def _weather(self, loss: str, duplicate: str, reorder: str, delay: str) -> None:
        network = self.cluster.network
        network.weather = Weather(float(loss), float(duplicate), float(reorder), delay_max_s=float(delay))
        network.slow.clear()

    def _stop(self, who: str, how: str = "") -> None:
        self.cluster.stop(who, power=how != "kill", torn=how == "torn")

    def _crash(self, who: str, after: str, kind: str = "") -> None:
        if kind and kind not in KINDS:
            raise ScriptError(f"no kind of operation {kind!r}; there are {', '.join(KINDS)}")
        self.cluster.hosts[who].disk.light(int(after), kind)

    def _rot(self, who: str, bit: str) -> None:
        """Only where the others can do without it."""
        host = self.cluster.hosts[who]
        if not host.up and self.cluster.spares(host):
            self.cluster.trace(f"{who} rots: {host.rot(int(bit))}")

    def _slow(self, who: str, seconds: str = "") -> None:
        at_most = float(seconds or STALLED_S)
        self.cluster.hosts[who].speed = DiskSpeed(0.0005 if seconds else at_most, at_most)

    def _fast(self, who: str) -> None:
        self.cluster.hosts[who].speed = DiskSpeed()

    def _snapshot(self, who: str, keep: str = "0") -> None:
        if self.cluster.hosts[who].up:
            self.cluster.hosts[who].begin_snapshot(int(keep))

    def _transfer(self, who: str, to: str) -> None:
        if self.cluster.hosts[who].up:
            refusal = self.cluster.hosts[who].node.transfer_leadership(to)
            if refusal:
                self.cluster.trace(f"{who} refuses: {refusal}")
            else:
                self.cluster.handing_over[to] = self.cluster.now

    def _add(self, through: str, who: str) -> None:
        if self.cluster.hosts[through].up:
            self.cluster.hosts[through].node.add_member(who, self._told(f"add {who}"))

    def _remove(self, through: str, who: str) -> None:
        """Not while a replica that lost its disk needs the others for its readmission: of three, one whose
        disk is gone and one that is removed leave no quorum that knows."""
        hosts = self.cluster.hosts
        if hosts[through].up and not any(host.recovering or host.rotten for host in hosts.values()):
            hosts[through].node.remove_member(who, self._told(f"remove {who}"))

    def _told(self, what: str) -> Callable[[ProposeResult], None]:
        cluster = self.cluster

        def told(result: ProposeResult) -> None:
            cluster.trace(f"{what}: {result.fate}{result.reason and ', '}{result.reason}")
            cluster.reached[_CHANGED.get(result.fate) or _DONE[what.split()[0]]] += 1

        return told
