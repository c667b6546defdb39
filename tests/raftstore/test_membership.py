"""Members come, vote, take another's place and go, over real TLS; whoever leads carries it on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from raftstore.members import Refused
from raftstore.replica import Replica
from tests.raftstore.replicas import DEADLINE_S, Replicas, put, read, until


@pytest.fixture
async def four(tmp_path: Path) -> AsyncIterator[Replicas]:
    """n1, n2 and n3 run; n4 has its certificate and waits to be added."""
    made = Replicas(tmp_path, 4)
    voters = {n: made.configs[n].peers[n] for n in ("n1", "n2", "n3")}
    made.configs = {
        n: replace(config, peers=voters, join=n not in voters) for n, config in made.configs.items()
    }
    await made.start(*voters)
    yield made
    await made.close()


def address(four: Replicas, node_id: str) -> str:
    return four.configs[node_id].listen


def votes(replicas: list[Replica], *ids: str) -> bool:
    return all(replica.node.voters == ids for replica in replicas)


async def test_an_observer_holds_everything_and_has_no_vote_until_it_is_promoted(four: Replicas) -> None:
    leader = await four.leader()
    outcome = await leader.submit(put("a", b"1"))
    await four.start("n4")
    n4 = four.running["n4"]
    assert await leader.admin.add("n4", address(four, "n4"), voter=False) == ""
    assert (await read(n4, outcome.index))[0] == {"a": b"1"}
    assert n4.node.role == "observer" and votes(list(four.running.values()), "n1", "n2", "n3")
    assert (await n4.submit(put("b"), timeout_s=30.0)).applied
    assert await n4.read_index(timeout_s=30.0) > outcome.index
    await n4.admin.promote("n4")
    await until(lambda: votes(list(four.running.values()), "n1", "n2", "n3", "n4"), "it votes")


async def test_a_dead_replica_is_replaced_by_one_change(four: Replicas) -> None:
    (dead, _) = await four.followers()
    await dead.submit(put("a", b"1"))
    await four.stop(dead.id)
    leader = await four.leader()
    with pytest.raises(Refused, match="n9 is not a member"):
        await leader.admin.add("n4", address(four, "n4"), replaces="n9")
    await four.start("n4")
    await leader.admin.add("n4", address(four, "n4"), replaces=dead.id)
    left = sorted({*four.configs} - {dead.id})
    await until(lambda: votes(list(four.running.values()), *left), "it votes in its place")
    await until(lambda: not leader.admin.membership.pending(), "nothing is left to do")
    assert [member.id for member in (await leader.status()).members] == left
    with pytest.raises(Refused, match=f"{dead.id} is not a member"):
        await leader.admin.remove(dead.id)


async def test_who_leads_next_carries_a_change_on(four: Replicas) -> None:
    leader = await four.leader()
    under_way = await leader.admin.membership.add("n4", address(four, "n4"), voter=True, wait=False)
    assert under_way.startswith("n4 is still to become a voter")
    await four.stop(leader.id)
    successor = await four.leader()
    await until(successor.admin.membership.pending, "it knows what is to be done")
    assert "n4" not in successor.node.voters
    with pytest.raises(Refused, match="one change at a time: n4 is still to become a voter"):
        await successor.admin.remove(leader.id)
    await four.start("n4")
    await until(lambda: votes(list(four.running.values()), "n1", "n2", "n3", "n4"), "it votes")
    await until(lambda: not successor.admin.membership.pending(), "nothing is left to do")


async def test_a_leader_hands_over_before_it_is_removed(four: Replicas) -> None:
    leader = await four.leader()
    others = await four.followers()
    await leader.admin.remove(leader.id)
    await until(lambda: votes(others, *sorted(other.id for other in others)), "two are left")
    assert not leader.node.is_leader
    assert (await others[0].submit(put("a"), timeout_s=30.0)).applied
    with pytest.raises(Refused, match="is not a member"):
        await others[1].admin.remove(leader.id)


async def test_handing_over_ends_also_when_a_third_one_leads(four: Replicas) -> None:
    (dead, third) = await four.followers()
    leader = await four.leader()
    await four.stop(dead.id)
    handing = asyncio.create_task(leader.admin.hand_over(dead.id))
    third.node.receive(leader.id, {"type": "timeout_now", "term": leader.node.term})
    third.kick()
    async with asyncio.timeout(DEADLINE_S):
        assert await handing in (f"{third.id} leads now", f"{dead.id} did not take over in time")


async def test_a_replica_that_the_quorum_needs_is_not_removed(four: Replicas) -> None:
    (dead, alive) = await four.followers()
    leader = await four.leader()
    await four.stop(dead.id)
    await until(lambda: not leader.connected(dead.id), "its death is noticed")
    with pytest.raises(Refused, match=f"without {alive.id} there would be no quorum"):
        await leader.admin.remove(alive.id)
    assert (await leader.submit(put("a"), timeout_s=30.0)).applied
    assert await leader.admin.remove(dead.id) == "", "the dead one may go, and then the other"
    await leader.admin.remove(alive.id)
    await until(lambda: leader.node.voters == (leader.id,), "one is left")
