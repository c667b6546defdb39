"""Directed schedules of watches: resumed at another replica, and slower than what is kept for them."""

from __future__ import annotations

from chaos.sim.cluster import Cluster
from chaos.sim.front import FEED_COMMITS
from chaos.sim.scene import directed


def _write(cluster: Cluster, name: str, count: int) -> None:
    """Each in an entry of its own."""
    for number in range(count):
        cluster.clients.submit(f"{name}{number}", "r0", "A")
        cluster.step()
    cluster.run(0.3)


@directed("ABC")
def watch_resumed_elsewhere(cluster: Cluster) -> None:
    """A watch whose replica is gone goes on at another one exactly where it was."""
    cluster.watch("fast", "B")
    _write(cluster, "before", 5)
    cluster.stop("B")
    _write(cluster, "meanwhile", 5)
    cluster.watch("fast", "C")
    _write(cluster, "after", 5)


@directed("ABC")
def slow_watcher(cluster: Cluster) -> None:
    """A watcher that is slower than what is kept for it learns that, and starts over with a snapshot."""
    cluster.watch("slow", "B", slow=True)
    cluster.run(0.5)
    _write(cluster, "many", 2 * FEED_COMMITS)
