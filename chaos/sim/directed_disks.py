"""Directed schedules of snapshots and rotten logs (see directed.py)."""

from __future__ import annotations

from chaos.sim.cluster import STEP_S, Cluster
from chaos.sim.host import SEGMENT_BYTES, DiskSpeed
from chaos.sim.invariants import Disrupted, NotConverged, RotNotFound
from chaos.sim.scene import acknowledged, directed
from raftstore.errors import Corrupt

# Steps in which one of the simulation's small snapshots is written.
SLICES_MAX = 7


@directed("ABC")
def retry_after_snapshot(cluster: Cluster) -> None:
    """Snapshots carry the memory of requests: a retry after a restart from one applies once."""
    acknowledged(cluster, cluster.clients.write("pay", "A"))
    cluster.run(0.5)
    for host in cluster.running():
        host.take_snapshot(keep_entries=0)
    for voter in "ABC":
        cluster.stop(voter)
    for voter in "ABC":
        cluster.start(voter)
    leader = cluster.elect()
    acknowledged(cluster, cluster.clients.write("pay", leader))


@directed("ABC")
def rejoin_with_snapshot(cluster: Cluster) -> None:
    """A voter that was away longer than the log reaches back gets a snapshot, without an election."""
    cluster.stop("C")
    for _ in range(60):
        cluster.clients.step(1.0, 0.0)
        cluster.step()
    cluster.run(0.3)
    term = cluster.hosts["A"].node.term
    cluster.hosts["A"].take_snapshot(keep_entries=0)
    cluster.start("C")
    target = cluster.hosts["A"].node.commit_index
    if not cluster.run(3, lambda: cluster.hosts["C"].node.applied_index >= target):
        raise NotConverged(f"C stands at {cluster.hosts['C'].node.applied_index} of {target}")
    if cluster.hosts["A"].node.term != term:
        raise Disrupted(f"the term rose from {term} to {cluster.hosts['A'].node.term}")


@directed("ABC")
def overtaken_snapshot(cluster: Cluster) -> None:
    """The leader's snapshot arrives while the follower writes one of its own, whichever part it is at."""
    leader, away = cluster.hosts["A"], cluster.hosts["C"]
    for phase in range(SLICES_MAX):
        acknowledged(cluster, cluster.clients.write(f"one{phase}", "A"))
        cluster.run(0.3)
        cluster.network.isolate("C", cluster.ids)
        acknowledged(cluster, cluster.clients.write(f"two{phase}", "A"))
        leader.take_snapshot(keep_entries=0)
        cluster.network.heal()
        cluster.run(phase * STEP_S)
        target = leader.node.applied_index
        while away.node.applied_index < target:
            away.begin_snapshot(50)
            cluster.step()


@directed("ABC")
def torn_batch_before_a_new_segment(cluster: Cluster) -> None:
    """What is left of a torn batch is never taken for rot, also if the next batch began a segment."""
    host, node = cluster.hosts["C"], cluster.hosts["A"].node
    host.speed = DiskSpeed(5.0, 5.0)
    acknowledged(cluster, cluster.clients.write("torn", "A"))
    cluster.run(0.1)
    segment, batch = host.wal.segments[-1], host.under_way
    cluster.stop("C")
    host.disk.append(segment, batch[:-1])
    host.speed = DiskSpeed()
    cluster.start("C")
    node.propose(bytes(SEGMENT_BYTES), lambda result: None)
    cluster.run(0.5)
    cluster.stop("C")
    cluster.start("C")


@directed("ABC")
def rotten_log(cluster: Cluster) -> None:
    """A bit that flipped on the disk is found at the start, and never becomes anyone's state."""
    for number in range(20):
        acknowledged(cluster, cluster.clients.write(f"w{number}", "A"))
    cluster.run(0.3)
    cluster.stop("C")
    disk = cluster.hosts["C"].disk
    segment = next(name for name in disk.list() if name.endswith(".wal"))
    size = len(disk.read(segment))
    for byte in range(size // 4, 3 * size // 4, 97):
        disk.flip(segment, byte, bit=byte % 8)
        try:
            cluster.start("C", rebuild=False)
        except Corrupt:
            disk.flip(segment, byte, bit=byte % 8)
        else:
            raise RotNotFound(f"C starts although byte {byte} of {size} of its log is rotten")
    cluster.start("C")
