"""Directed schedules of snapshots and rotten logs (see directed.py)."""

from __future__ import annotations

from chaos.sim.cluster import REAL, STEP_S, Cluster, acknowledged, quiet_cluster
from chaos.sim.host import Build
from chaos.sim.invariants import Disrupted, NotConverged, RotNotFound
from raftstore.errors import Corrupt

# Steps in which one of the simulation's small snapshots is written.
SLICES_MAX = 7


def retry_after_snapshot(build: Build = REAL) -> Cluster:
    """Snapshots carry the memory of requests: a retry after a restart from one applies once."""
    cluster = quiet_cluster("ABC", build)
    cluster.let_lead("A")
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
    cluster.settle()
    return cluster


def rejoin_with_snapshot(build: Build = REAL) -> Cluster:
    """A voter that was away longer than the log reaches back gets a snapshot, without an election."""
    cluster = quiet_cluster("ABC", build)
    cluster.let_lead("A")
    cluster.run(0.3)
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
    cluster.settle()
    return cluster


def overtaken_snapshot(build: Build = REAL) -> Cluster:
    """The leader's snapshot arrives while the follower writes one of its own, whichever part it is at."""
    for phase in range(SLICES_MAX):
        cluster = quiet_cluster("ABC", build)
        cluster.let_lead("A")
        acknowledged(cluster, cluster.clients.write("one", "A"))
        cluster.run(0.3)
        cluster.network.isolate("C", cluster.ids)
        acknowledged(cluster, cluster.clients.write("two", "A"))
        cluster.hosts["A"].take_snapshot(keep_entries=0)
        cluster.network.heal()
        cluster.run(phase * STEP_S)
        away, target = cluster.hosts["C"], cluster.hosts["A"].node.applied_index
        while away.node.applied_index < target:
            away.begin_snapshot(50)
            cluster.step()
        cluster.settle()
    return cluster


def rotten_log(build: Build = REAL) -> Cluster:
    """A bit that flipped on the disk is found at the start, and never becomes anyone's state."""
    cluster = quiet_cluster("ABC", build)
    cluster.let_lead("A")
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
    cluster.settle()
    return cluster
