"""Directed schedules: the faults that random ones seldom find, each told step by step.

Every one takes a build and raises a Violation when a promise breaks. The real build
passes them all; the unguarded core and the broken builds do not (judges.py,
tests/raft/test_directed.py). They retell the audit of pysyncobj 0.3.17.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from chaos.sim.cluster import REAL, Cluster
from chaos.sim.directed_disks import (
    overtaken_snapshot,
    rejoin_with_snapshot,
    retry_after_snapshot,
    rotten_log,
    torn_batch_before_a_new_segment,
)
from chaos.sim.directed_feed import slow_watcher, watch_resumed_elsewhere
from chaos.sim.host import Build, DiskSpeed
from chaos.sim.invariants import Disrupted, NotConverged, crashes_are_violations
from chaos.sim.network import Message
from chaos.sim.scene import Scenario, acknowledged, directed
from raftstore.node import ProposeResult

SLOW = DiskSpeed(5.0, 5.0)


def _ignore(result: ProposeResult) -> None:
    """The scenario looks at the outcome elsewhere."""


@directed("ABCDE")
def stale_acknowledgement(cluster: Cluster) -> None:
    """A late acknowledgement of an old term must not count for the entries of a new one."""
    network, ids = cluster.network, cluster.ids
    # A reaches B only, and B's acknowledgements are stuck in the network.
    network.split(["A", "B"], ids)
    network.hold = lambda source, target, message: (
        (source, target, message["type"]) == ("B", "A", "next_node_idx") and message["success"]
    )
    for number in range(3):
        cluster.clients.write(f"x{number}", "A")
    cluster.run(0.2)
    stuck = max((m for _, _, m in network.held), key=lambda message: message["next_node_idx"])
    network.hold = lambda source, target, message: False
    # B drops out, C leads the rest; A comes back and loses its three entries.
    network.isolate("B", ids)
    cluster.let_lead("C")
    network.cut.clear()
    network.isolate("B", ids)
    cluster.run(0.5)
    # C drops out, A leads again, and reaches D only.
    network.isolate("C", ids)
    cluster.let_lead("A")
    cluster.run(0.05)
    network.cut |= {("A", "E"), ("E", "A")}
    cluster.clients.write("y", "A")
    cluster.run(0.03)
    # The old acknowledgement arrives: B "has" what it never saw.
    network.cut.discard(("B", "A"))
    network.inject("B", "A", stuck)
    cluster.run(0.1)
    # The two that hold y fail; the others go on.
    cluster.stop("A")
    cluster.stop("D")
    network.heal()
    cluster.elect()
    cluster.run(0.5)


@directed("ABC")
def repeated_append(cluster: Cluster) -> None:
    """A late copy of an append must not cut what was acknowledged since."""
    network, ids = cluster.network, cluster.ids
    network.cut |= {("A", "C"), ("C", "A")}
    copies: list[Message] = []

    def watch(source: str, target: str, message: Message) -> bool:
        if (source, target) == ("A", "B") and message.get("entries"):
            copies.append(message)
        return False

    network.hold = watch
    acknowledged(cluster, cluster.clients.write("one", "A"))
    first = copies[0]
    for number in range(5):
        acknowledged(cluster, cluster.clients.write(f"later{number}", "A"))
    network.hold = lambda source, target, message: False
    network.isolate("A", ids)
    network.cut.discard(("A", "B"))
    network.inject("A", "B", first)
    cluster.run(0.02)
    cluster.stop("A")
    network.cut.clear()
    cluster.elect()
    cluster.run(0.5)


@directed("ABC")
def returning_leader(cluster: Cluster) -> None:
    """An ex-leader with a stale tail catches up, however much was written meanwhile."""
    network, ids = cluster.network, cluster.ids
    network.isolate("A", ids)
    for number in range(40):
        cluster.clients.write(f"stale{number}", "A")
    cluster.run(0.02)
    cluster.run(5, lambda: any(leader != "A" for leader in cluster.leaders()))
    leader = next(leader for leader in cluster.leaders() if leader != "A")
    big = b"z" * 200_000  # several messages' worth
    for _ in range(40):
        cluster.hosts[leader].node.propose(big, _ignore)
    cluster.run(1)
    network.heal()
    target = cluster.hosts[leader].node.commit_index
    if not cluster.run(5, lambda: cluster.hosts["A"].node.commit_index >= target):
        at = cluster.hosts["A"].node.commit_index
        raise NotConverged(f"A stands at {at} of {target}, 5 s after its return")


@directed("ABC")
def deaf_follower(cluster: Cluster) -> None:
    """A node that hears nobody, but is heard, must not depose leaders."""
    term = cluster.hosts["A"].node.term
    cluster.network.cut |= {("A", "C"), ("B", "C")}
    cluster.run(10)
    risen = cluster.hosts["A"].node.term - term
    if risen or cluster.leaders() != ["A"]:
        raise Disrupted(f"in 10 s the term rose by {risen}; leaders: {cluster.leaders()}")


@directed("ABC")
def returning_follower(cluster: Cluster) -> None:
    """A node that was cut off for long comes back without an election."""
    term = cluster.hosts["A"].node.term
    cluster.network.isolate("C", cluster.ids)
    cluster.run(5)
    cluster.network.heal()
    cluster.run(2)
    if cluster.hosts["A"].node.term != term or cluster.leaders() != ["A"]:
        raise Disrupted(f"term {term} became {cluster.hosts['A'].node.term}; leaders: {cluster.leaders()}")


@directed("ABC", spare="DE")
def overlapping_changes(cluster: Cluster) -> None:
    """Two membership changes at once could make two majorities that do not overlap."""
    network = cluster.network
    network.split(["B", "C"], cluster.ids)
    node = cluster.hosts["A"].node
    node.add_member("D", _ignore)
    node.add_member("E", _ignore)
    cluster.run(0.15)
    cluster.clients.write("left", "A")
    cluster.run(3, lambda: any(leader in "BC" for leader in cluster.leaders()))
    for leader in cluster.leaders():
        cluster.clients.write(f"of {leader}", leader)
    cluster.run(1)


@directed("ABC")
def vote_then_power_cut(cluster: Cluster) -> None:
    """A voter that loses power while its vote is on its way to the disk must not have shown it."""
    network, ids = cluster.network, cluster.ids
    for one in ids:
        network.isolate(one, ids)
    cluster.run(1)
    cluster.hosts["B"].speed = SLOW
    network.cut -= {("A", "B"), ("B", "A")}
    # A would win with B's vote; nothing else reaches B.
    network.hold = lambda source, target, message: message["type"] == "append_entries"
    with suppress(NotConverged):
        cluster.let_lead("A", 1.0)
    cluster.stop("B")
    cluster.hosts["B"].speed = DiskSpeed()
    network.cut.clear()
    network.isolate("A", ids)
    cluster.start("B")
    cluster.let_lead("C")
    network.hold = lambda source, target, message: False
    cluster.run(0.2)


@directed("ABC")
def followers_lose_power(cluster: Cluster) -> None:
    """What a follower has acknowledged survives its power cut."""
    cluster.hosts["B"].speed = cluster.hosts["C"].speed = SLOW
    cluster.run(0.1)
    cluster.clients.write("w", "A")
    cluster.run(0.2)
    for host in "ABC":
        cluster.stop(host)
    cluster.hosts["B"].speed = cluster.hosts["C"].speed = DiskSpeed()
    cluster.start("B")
    cluster.start("C")
    cluster.elect()
    cluster.run(0.5)


@directed("ABC")
def leader_loses_power(cluster: Cluster) -> None:
    """A leader counts itself for what is on its disk, not for what is on its way there."""
    network, ids = cluster.network, cluster.ids
    network.isolate("C", ids)
    cluster.hosts["A"].speed = SLOW
    cluster.run(0.1)
    cluster.clients.write("w", "A")
    cluster.run(0.15)
    cluster.stop("A")
    cluster.hosts["A"].speed = DiskSpeed()
    network.cut.clear()
    network.isolate("B", ids)
    cluster.start("A")
    cluster.run(10, lambda: "A" in cluster.leaders() or "C" in cluster.leaders())
    cluster.run(0.5)


@directed("ABC")
def leader_steps_down_before_its_sync(cluster: Cluster) -> None:
    """Losing the quorum ends a leadership in the very tick that counts votes for entries: what
    the leader's disk does not hold yet must not slip through as committed."""
    network, ids = cluster.network, cluster.ids
    network.isolate("C", ids)
    cluster.hosts["A"].speed = SLOW
    cluster.run(0.1)
    cluster.clients.write("w", "A")
    cluster.run(0.1)
    network.isolate("A", ids)
    cluster.run(2, lambda: "A" not in cluster.leaders())
    cluster.run(0.1)
    cluster.stop("A")
    cluster.hosts["A"].speed = DiskSpeed()
    network.cut.clear()
    network.isolate("B", ids)
    cluster.start("A")
    cluster.run(10, lambda: "A" in cluster.leaders() or "C" in cluster.leaders())
    cluster.run(0.5)


@directed("A")
def single_node_loses_power(cluster: Cluster) -> None:
    """In a cluster of one the commit, too, waits for the disk."""
    cluster.hosts["A"].speed = SLOW
    cluster.run(0.05)
    cluster.clients.write("w", "A")
    cluster.run(0.2)
    cluster.stop("A")
    cluster.hosts["A"].speed = DiskSpeed()


@directed("ABC")
def everybody_loses_power(cluster: Cluster) -> None:
    """All replicas lose power at once, while writes are acknowledged."""
    for _ in range(100):
        cluster.clients.step(1.0, 0.0)
        cluster.step()
    for host in "ABC":
        cluster.stop(host)
    for host in "ABC":
        cluster.start(host)


@directed("ABC")
def read_from_deposed_leader(cluster: Cluster) -> None:
    """A leader that was replaced and does not know it yet must not confirm reads."""
    network = cluster.network
    cluster.hosts["A"].node.transfer_leadership("B")
    network.hold = lambda source, target, message: (
        target == "A" or (source == "A" and message["type"] != "timeout_now")
    )
    cluster.run(3, lambda: "B" in cluster.leaders())
    if "B" not in cluster.leaders():
        cluster.let_lead("B")
    acknowledged(cluster, cluster.clients.write("new", "B"))
    cluster.clients.read("A")
    cluster.run(0.05)
    network.hold = lambda source, target, message: False


@directed("ABC")
def answer_of_an_earlier_life(cluster: Cluster) -> None:
    """The late answer to a read must not answer a read that was asked after a restart."""
    network = cluster.network
    network.hold = lambda source, target, message: target == "B" and message["type"] == "read_index_reply"
    cluster.clients.read("B")
    cluster.run(0.1)
    late = network.held[0][2]
    cluster.stop("B")
    acknowledged(cluster, cluster.clients.write("new", "A"))
    cluster.start("B")
    cluster.run(0.3)
    cluster.clients.read("B")
    network.inject("A", "B", late)
    cluster.run(0.1)
    network.hold = lambda source, target, message: False


@directed("ABC")
def cut_off_leader(cluster: Cluster) -> None:
    """A leader that lost its quorum stops leading within an election timeout."""
    cluster.network.isolate("A", cluster.ids)
    cluster.run(3)


@directed("ABC")
def echoes_of_a_lost_quorum(cluster: Cluster) -> None:
    """Replies that travelled for long say nothing of who lives when they arrive."""
    network = cluster.network
    network.hold = lambda source, target, message: target == "A" and message["type"] == "next_node_idx"
    cluster.run(0.25)
    network.hold = lambda source, target, message: False
    echoes = [message for source, _, message in network.held if source == "B"]
    cluster.stop("B")
    cluster.stop("C")
    for echo in echoes:
        network.inject("B", "A", echo)
        cluster.run(0.2)


@directed("ABC")
def retry_of_lost_answer(cluster: Cluster) -> None:
    """A request whose answer was lost is sent again, through another leader, and applies once."""
    acknowledged(cluster, cluster.clients.write("pay", "A"))
    cluster.run(0.2)
    cluster.stop("A")
    cluster.elect()
    acknowledged(cluster, cluster.clients.write("pay", cluster.leaders()[0]))


SCENARIOS: dict[str, Scenario] = {
    scenario.__name__: scenario
    for scenario in (
        stale_acknowledgement,
        repeated_append,
        returning_leader,
        deaf_follower,
        returning_follower,
        overlapping_changes,
        vote_then_power_cut,
        followers_lose_power,
        leader_loses_power,
        leader_steps_down_before_its_sync,
        single_node_loses_power,
        everybody_loses_power,
        read_from_deposed_leader,
        answer_of_an_earlier_life,
        cut_off_leader,
        echoes_of_a_lost_quorum,
        retry_of_lost_answer,
        retry_after_snapshot,
        rejoin_with_snapshot,
        overtaken_snapshot,
        torn_batch_before_a_new_segment,
        rotten_log,
        watch_resumed_elsewhere,
        slow_watcher,
    )
}


@dataclass(frozen=True)
class Directed:
    """A scenario and how to run it."""

    name: str

    def run(self, build: Build = REAL) -> Cluster:
        """Raises a Violation."""
        with crashes_are_violations():
            return SCENARIOS[self.name](build)
