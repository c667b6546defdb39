"""Directed schedules of watches: resumed at another replica, and slower than what is kept for them."""

from __future__ import annotations

from chaos.sim.cluster import REAL, Cluster
from chaos.sim.front import FEED_COMMITS
from chaos.sim.host import Build


def _writing(build: Build) -> Cluster:
    cluster = Cluster("ABC", seed=1, build=build)
    cluster.clients.lose_answers = 0.0
    cluster.let_lead("A")
    cluster.run(0.1)
    return cluster


def _write(cluster: Cluster, name: str, count: int) -> None:
    """Each in an entry of its own."""
    for number in range(count):
        cluster.clients.submit(f"{name}{number}", "r0", "A")
        cluster.step()
    cluster.run(0.3)


def watch_resumed_elsewhere(build: Build = REAL) -> Cluster:
    """A watch whose replica is gone goes on at another one exactly where it was."""
    cluster = _writing(build)
    cluster.watch("fast", "B")
    _write(cluster, "before", 5)
    cluster.stop("B")
    _write(cluster, "meanwhile", 5)
    cluster.watch("fast", "C")
    _write(cluster, "after", 5)
    cluster.settle()
    return cluster


def slow_watcher(build: Build = REAL) -> Cluster:
    """A watcher that is slower than what is kept for it learns that, and starts over with a snapshot."""
    cluster = _writing(build)
    cluster.watch("slow", "B", slow=True)
    cluster.run(0.5)
    _write(cluster, "many", 2 * FEED_COMMITS)
    cluster.settle()
    return cluster
