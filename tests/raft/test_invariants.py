"""The checkers find what they are there to find, told of it directly."""

from __future__ import annotations

import pytest

from chaos.sim.cluster import Cluster
from chaos.sim.invariants import (
    AcknowledgedWriteLost,
    AppliedTwice,
    CommitChanged,
    FeedBroken,
    LogMismatch,
    NodeCrashed,
    NotConverged,
    NotExactlyOnce,
    TornWriteRefused,
    TwoLeaders,
    TwoVotes,
    crashes_are_violations,
)
from chaos.sim.scene import acknowledged
from raftstore.machine import Applied
from raftstore.types import Event, Key, Op


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster("ABC", 1)
    made.elect()
    return made


def effect(index: int, request_id: str) -> Applied:
    key = Key("k", "m", "n")
    event = Event(index, 1, 0, "", request_id, "", "", Op.PUT, key, b"", 0, 0)
    return Applied(index, events=(event,))


def test_two_votes_in_a_term(cluster: Cluster) -> None:
    cluster.checker.voted("A", 9, "B")
    cluster.checker.voted("A", 9, "B")
    with pytest.raises(TwoVotes, match="A voted for B and for C in term 9"):
        cluster.checker.voted("A", 9, "C")


def test_a_replica_without_memory_votes_for_who_leads_already(cluster: Cluster) -> None:
    leader, *others = sorted(cluster.ids, key=lambda each: each not in cluster.leaders())
    cluster.step()
    term = cluster.hosts[leader].node.term
    cluster.checker.voted("F", term, others[0])
    cluster.checker.promised("F", term, leader)
    with pytest.raises(TwoVotes, match=f"F voted for {leader} and for {others[0]} in term {term}"):
        cluster.checker.voted("F", term, others[0])
    with pytest.raises(
        TwoVotes, match=f"F gives its vote of term {term} to {others[0]}, who does not lead it"
    ):
        cluster.checker.promised("F", term, others[0])


def test_two_contents_of_one_entry(cluster: Cluster) -> None:
    cluster.checker.entry_written(50, 9, 8, b"x")
    cluster.checker.entry_written(50, 9, -1, b"snapshot placeholder")
    with pytest.raises(LogMismatch, match="entry 50 of term 9"):
        cluster.checker.entry_written(50, 9, 8, b"y")


def test_an_index_that_is_applied_again_or_changes(cluster: Cluster) -> None:
    cluster.checker.applied("A", 50, 9, Applied(50))
    with pytest.raises(AppliedTwice, match="A applied 50 after 50"):
        cluster.checker.applied("A", 50, 9, Applied(50))
    with pytest.raises(CommitChanged, match="entry 50 of term 8 committed; it was of term 9"):
        cluster.checker.applied("B", 50, 8, Applied(50))


def test_a_request_with_two_effects(cluster: Cluster) -> None:
    cluster.checker.applied("A", 50, 9, effect(50, "pay"))
    cluster.checker.applied("B", 50, 9, effect(50, "pay"))
    with pytest.raises(NotExactlyOnce, match="pay took effect at 50 and, on A, at 51"):
        cluster.checker.applied("A", 51, 9, effect(51, "pay"))


def test_an_acknowledged_write_that_is_gone(cluster: Cluster) -> None:
    cluster.history.acknowledged["ghost"] = 7
    with pytest.raises(AcknowledgedWriteLost, match="ghost was acknowledged at 7; now it is at 0"):
        cluster.checker.final()


def test_two_leaders_in_a_term(cluster: Cluster) -> None:
    first = cluster.leaders()[0]
    term = cluster.hosts[first].node.term
    cluster.checker._leaders[term] = "someone else"
    with pytest.raises(TwoLeaders, match=f"someone else and {first} both lead term {term}"):
        cluster.checker.look()


def test_an_observer_that_lacks_something_in_the_end() -> None:
    cluster = Cluster("ABC", 1, observers="D")
    leader = cluster.elect()
    cluster.network.isolate("D", cluster.ids)
    acknowledged(cluster, cluster.clients.write("w", leader))
    cluster.run(0.3)
    with pytest.raises(NotConverged, match=f"D and {leader} differ at index"):
        cluster.checker.final()


def test_a_watch_that_goes_silent(cluster: Cluster) -> None:
    leader = cluster.leaders()[0]
    cluster.watch("slow", leader, slow=True)
    for number in range(9):
        acknowledged(cluster, cluster.clients.write(f"w{number}", leader))
    watcher = cluster.watchers["slow"]
    with pytest.raises(FeedBroken, match=f"slow at {leader} ends at .*, before commit"):
        watcher.final()
    watcher.drain()
    watcher.final()


def test_a_log_that_is_refused_is_set_aside_only_if_something_in_it_is_rotten(cluster: Cluster) -> None:
    host = cluster.hosts["B"]
    cluster.stop("B", power=False)
    segment = next(name for name in host.disk.list() if name.endswith(".wal"))
    host.disk.flip(segment, 20)
    with pytest.raises(TornWriteRefused, match=r"B refuses a log that no bit of is rotten: .*is corrupt"):
        cluster.start("B")
    host.rotten = True
    assert cluster.start("B") and host.recovering


def test_what_a_node_raises_is_a_violation() -> None:
    with pytest.raises(NodeCrashed, match="KeyError: 'x'"), crashes_are_violations():
        {}["x"]


def test_a_voter_that_was_away_and_is_added_again_is_given_its_time() -> None:
    cluster = Cluster("ABCD", 1)
    leader = cluster.hosts[cluster.elect()]
    one, other, _ = sorted(set("ABCD") - {leader.id})
    cluster.run(0.2)
    cluster.stop(one)
    leader.node.remove_member(one, lambda result: None)
    cluster.run(0.2)
    cluster.stop(other)
    cluster.run(0.5)
    leader.node.add_member(one, lambda result: None)
    cluster.run(0.3)
    assert set(leader.node.voters) == set("ABCD") and leader.node.is_leader
