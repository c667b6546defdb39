"""A replica that lost its disk comes back into a simulated cluster, and only when that is safe."""

from __future__ import annotations

from chaos.sim.cluster import Cluster
from chaos.sim.commands import Commands
from chaos.sim.coverage import Reached


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


def test_a_rotten_byte_that_tells_the_format_is_found_like_any_other() -> None:
    commands = Commands()
    format_byte = 8 * 5  # behind the five of the magic
    for line in ("cluster A B C seed 1", "run 1", "stop C", f"rot C {format_byte + 3}", "start C"):
        commands.do(line)
    assert commands.cluster.hosts["C"].recovering
    commands.cluster.settle()


def test_nobody_is_removed_while_a_rotten_log_waits_to_be_found() -> None:
    commands = Commands()
    for line in ("cluster A B C seed 1", "run 1", "stop C", "rot C 900", "remove A B", "run 0.3"):
        commands.do(line)
    cluster = commands.cluster
    assert cluster.leaders() == ["A"] and cluster.hosts["A"].node.voters == ("A", "B", "C")
    cluster.settle()
    assert cluster.reached[Reached.SET_ASIDE] == 1
    commands.do("remove A B")
    assert cluster.run(2, lambda: "B" not in cluster.hosts[cluster.leaders()[0]].node.voters)


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


def test_who_was_deposed_before_its_removal_was_committed_readmits_nobody() -> None:
    """It learns of the commit as a follower: what it said then would be said without any say."""
    cluster = Cluster("ABCDE", seed=1)
    cluster.lines = []
    network = cluster.network
    cluster.clients.lose_answers = 0.0
    cluster.let_lead("A")
    cluster.run(0.2)
    # Everybody gets the removal of E; A learns of no acknowledgement, and drops out.
    network.hold = lambda source, target, message: target == "A" and message["type"] == "next_node_idx"
    lose_disk(cluster, "E")
    removed = tuple("ABCD")
    assert cluster.run(0.5, lambda: all(cluster.hosts[each].node.voters == removed for each in removed))
    network.isolate("A", cluster.ids)
    network.hold = lambda source, target, message: False
    # C and D elect B, which commits the removal. E is not to be heard before A has heard of that.
    network.isolate("E", cluster.ids)
    cluster.let_lead("B")
    commit = cluster.hosts["B"].node.last_index
    network.cut.clear()
    network.isolate("E", cluster.ids)
    assert cluster.run(2, lambda: cluster.hosts["A"].node.applied_index >= commit)
    assert not [line for line in cluster.lines if "readmits" in line]
    assert cluster.hosts["A"].node.voters == removed and cluster.hosts["E"].recovering
    cluster.settle()
    assert [line for line in cluster.lines if "B readmits E" in line]
