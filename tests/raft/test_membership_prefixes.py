"""A change of the membership, cut off after every prefix of it, is finished by whoever leads next.

The roster stands in the log already; the leader of the moment carries it out step by step
(raftstore/members.py). At the k-th hundredth of a second of it the leader loses power. The
simulator's checker looks at every invariant after every step: one leader a term, logs that
match, nothing committed lost.
"""

from __future__ import annotations

import pytest

from chaos.sim.cluster import Cluster
from chaos.sim.host import Host
from raftstore.members import Entry, Roster, Wanted, next_step, unfinished

CUTS = range(0, 40, 2)
BACK_S = 0.7


def roster(**wanted: Wanted) -> Roster:
    return {node_id: Entry(f"{node_id}:1", want) for node_id, want in wanted.items()}


def carry_out(host: Host, wanted: Roster) -> None:
    """What membership.py does at each of its ticks."""
    node = host.node
    node.set_observers(host.cluster.ids)
    if not node.is_leader or node.transferring:
        return
    ends = {peer.id: node.match_index(peer.id) for peer in host.cluster.running() if peer is not host}
    caught_up = {peer: end for peer, end in ends.items() if end + 100 >= node.last_index > 0 < end}
    step = next_step(wanted, node.voters, host.id, caught_up)
    if step is None:
        return
    if step.op == "transfer":
        node.transfer_leadership(step.node_id)
    elif step.op == "add":
        node.add_member(step.node_id, lambda result: None)
    else:
        node.remove_member(step.node_id, lambda result: None)


def finished(cluster: Cluster, wanted: Roster) -> bool:
    leaders = [host for host in cluster.running() if host.node.is_leader]
    return len(leaders) == 1 and all(
        not unfinished(wanted, host.node.voters_at(host.node.applied_index)) for host in leaders
    )


@pytest.mark.parametrize("who", ["leader", "joiner"])
@pytest.mark.parametrize("change", ["add", "remove", "remove the leader", "replace"])
def test_every_prefix_is_gone_on_from(change: str, who: str) -> None:
    for cut in CUTS:
        cluster = Cluster("abc", seed=cut, spare="d")
        leader = cluster.elect()
        other = min(set("abc") - {leader})
        wanted = {
            "add": roster(d=Wanted.VOTER),
            "remove": roster(**{other: Wanted.REMOVED}),
            "remove the leader": roster(**{leader: Wanted.REMOVED}),
            "replace": roster(**{leader: Wanted.REMOVED, "d": Wanted.VOTER}),
        }[change]
        back_at = float("inf")
        for step in range(3000):
            for host in cluster.running():
                carry_out(host, wanted)
            cluster.clients.step(0.2, 0.1)
            if step == cut:
                victim = cluster.leaders()[0] if who == "leader" and cluster.leaders() else "d"
                cluster.stop(victim, torn=True)
                back_at = cluster.now + BACK_S
            cluster.step()
            if cluster.now > back_at:
                cluster.start(victim)
                back_at = float("inf")
            if step > cut and back_at == float("inf") and finished(cluster, wanted):
                break
        assert finished(cluster, wanted), f"{change}, cut at {cut}: {cluster.leaders()}"
        final = cluster.hosts[cluster.leaders()[0]].node.voters
        assert set(final) == expected(wanted), f"{change}, cut at {cut}"


def expected(wanted: Roster) -> set[str]:
    gone = {node_id for node_id, line in wanted.items() if line.wanted is Wanted.REMOVED}
    return {*"abc", *(set(wanted) - gone)} - gone
