"""What all directed schedules share: who leads when they begin, and that everybody agrees in the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from chaos.sim.clients import Write
from chaos.sim.cluster import REAL, Cluster
from chaos.sim.host import Build
from chaos.sim.invariants import NotConverged

Scenario = Callable[[Build], Cluster]


def directed(ids: str, *, spare: str = "") -> Callable[[Callable[[Cluster], None]], Scenario]:
    """The schedule that a story tells of a cluster led by A. It raises a Violation when a promise breaks."""

    def made(story: Callable[[Cluster], None]) -> Scenario:
        @wraps(story)
        def schedule(build: Build = REAL) -> Cluster:
            cluster = quiet_cluster(ids, build, spare)
            story(cluster)
            cluster.settle()
            return cluster

        return schedule

    return made


def quiet_cluster(ids: str, build: Build, spare: str = "") -> Cluster:
    """One that A leads. Nothing is random but timers, delays and syncs, and no answer is lost."""
    cluster = Cluster(list(ids), seed=1, build=build, spare=list(spare))
    cluster.clients.lose_answers = 0.0
    cluster.let_lead("A")
    cluster.run(0.3)
    return cluster


def acknowledged(cluster: Cluster, write: Write, seconds: float = 2.0) -> None:
    """Run until it is. Raises NotConverged."""
    if not cluster.run(seconds, lambda: write.done):
        raise NotConverged(f"{write.request_id} is not acknowledged within {seconds} s")
