"""A replica that lost its disk: silent until the others have readmitted it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from raftstore.datadir import read_meta
from raftstore.replica import Replica
from tests.raftstore.replicas import Replicas, put, read, until


@pytest.fixture
async def three(tmp_path: Path) -> AsyncIterator[Replicas]:
    made = Replicas(tmp_path, 3)
    await made.start()
    yield made
    await made.close()


async def start_anew(three: Replicas, node_id: str) -> Replica:
    """As an operator would: once with recover_from_peers."""
    config = replace(three.configs[node_id], recover_from_peers=True)
    three.running[node_id] = await Replica.start(config)
    return three.running[node_id]


async def test_it_is_readmitted_and_holds_everything(three: Replicas) -> None:
    (lost, _) = await three.followers()
    outcome = await lost.submit(put("a", b"1"))
    await three.stop(lost.id)
    anew = await start_anew(three, lost.id)
    assert anew.rejoin.silent and read_meta(anew.config.data_dir).recovering  # type: ignore[union-attr]
    records, _ = await read(anew, outcome.index)
    assert records == {"a": b"1"} and not anew.rejoin.silent
    await until(lambda: anew.node.voters == ("n1", "n2", "n3"), "it is a voter again")
    assert not read_meta(anew.config.data_dir).recovering  # type: ignore[union-attr]
    leader = await three.leader()
    assert anew.node.term == leader.node.term


async def test_while_silent_it_neither_votes_nor_acknowledges(three: Replicas) -> None:
    """Also when it is started again meanwhile, without being asked to recover."""
    leader, (lost, other) = await three.leader(), await three.followers()
    await lost.submit(put("a"))
    term = leader.node.term
    await three.stop(lost.id)
    await three.stop(other.id)
    await three.stop(leader.id)
    anew = await start_anew(three, lost.id)
    await three.stop(anew.id)
    await three.start(anew.id)
    anew = three.running[anew.id]
    assert anew.rejoin.silent and anew.id not in anew.node.voters
    vote = {
        "type": "request_vote",
        "term": term + 5,
        "last_log_index": 99,
        "last_log_term": 99,
        "transfer": True,
    }
    append = {"type": "heartbeat", "term": term + 5, "q": 1, "commit_index": 1}
    for message in (vote, append):
        anew.frame("n1" if anew.id != "n1" else "n2", message)
    assert anew.node.term < term + 5 and anew.node.drain_outbox() == []


async def test_it_is_readmitted_whoever_leads_meanwhile(three: Replicas) -> None:
    """Leadership moves when it asks, and again between its removal and its return."""
    (lost, other) = await three.followers()
    leader = await three.leader()
    outcome = await lost.submit(put("a", b"1"))
    await three.stop(lost.id)
    asking = asyncio.create_task(start_anew(three, lost.id))
    for heir in (other, leader):
        await hand_over(three, heir)
    anew = await asking
    await until(
        lambda: lost.id not in other.node.voters or not anew.rejoin.silent, "it is removed, for a moment"
    )
    await hand_over(three, other)
    await until(lambda: not anew.rejoin.silent, "it is readmitted")
    records, _ = await read(anew, outcome.index)
    assert records == {"a": b"1"}
    voters = ("n1", "n2", "n3")
    await until(lambda: all(r.node.voters == voters for r in three.running.values()), "it is a voter again")
    assert (await anew.submit(put("b"), timeout_s=30.0)).applied
    await until(lambda: len({replica.node.term for replica in three.running.values()}) == 1, "one term")


async def hand_over(three: Replicas, to: Replica) -> None:
    """Ask for it until it has come about: a leader refuses while another change is under way."""

    def asked() -> bool:
        for replica in three.running.values():
            if replica.node.is_leader and replica is not to:
                replica.node.transfer_leadership(to.id)
                replica.kick()
        return to.node.is_leader

    await until(asked, f"{to.id} leads")


async def test_frames_of_another_shape_are_refused(three: Replicas) -> None:
    leader = await three.leader()
    for frame in (("readmit", 1), ("readmitted",), ("readmitted", -1), ("readmitted", "1")):
        with pytest.raises(ValueError, match="wrong shape"):
            leader.rejoin.frame("n2", str(frame[0]), frame)
    assert leader.rejoin.frame("n2", "readmitted", ("readmitted", 99)), "nobody asked: it is ignored"
    assert leader.node.is_leader and leader.node.term < 99
