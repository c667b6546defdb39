"""A replica that lost its disk comes back into a simulated cluster, and only when that is safe."""

from __future__ import annotations

from chaos.sim.cluster import Cluster


def led_by_a() -> Cluster:
    cluster = Cluster("ABC", seed=1)
    cluster.clients.lose_answers = 0.0
    cluster.let_lead("A")
    cluster.run(0.2)
    return cluster


def lose_disk(cluster: Cluster, who: str) -> None:
    cluster.stop(who)
    cluster.hosts[who].set_aside()
    cluster.start(who)


def test_it_is_removed_and_added_and_holds_everything() -> None:
    cluster = led_by_a()
    cluster.clients.submit("w1", "r0", "A")
    cluster.run(0.2)
    lose_disk(cluster, "C")
    assert cluster.hosts["C"].recovering and "C" not in cluster.hosts["C"].node.voters
    assert cluster.run(5, lambda: not cluster.hosts["C"].rejoining.wanted)
    cluster.settle()
    assert cluster.hosts["C"].machine.version("w1") == cluster.history.acknowledged["w1"] > 0


def test_while_silent_it_elects_nobody() -> None:
    cluster = led_by_a()
    cluster.stop("A")
    lose_disk(cluster, "C")
    cluster.run(3)
    assert cluster.leaders() == [] and cluster.hosts["C"].recovering


def test_a_removal_that_is_not_committed_readmits_nobody() -> None:
    """It may be undone by a leader that does not know it, and what C acknowledged before would count."""
    cluster = led_by_a()
    leader = cluster.hosts["A"]
    cluster.network.isolate("B", cluster.ids)
    leader.node.remove_member("C", lambda result: None)
    lose_disk(cluster, "C")
    assert leader.node.voters == ("A", "B") and not leader.node.membership_committed()
    cluster.run(0.4)
    assert leader.node.is_leader and cluster.hosts["C"].recovering
    cluster.settle()
    assert not cluster.hosts["C"].recovering and set(leader.node.voters) == set("ABC")
