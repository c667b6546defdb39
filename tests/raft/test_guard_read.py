"""Linearizable reads, one node under test."""

from __future__ import annotations

from chaos.sim.lone import LoneNode
from raftstore import guard_read


def leader() -> LoneNode:
    """A leader that has committed an entry of its term."""
    lone = LoneNode()
    lone.become_leader()
    lone.sync()
    lone.reply("B", 3)
    lone.node.tick()
    assert lone.node.commit_index == 2
    lone.out()
    return lone


def answer(lone: LoneNode, peer: str, ok: bool = True, term: int | None = None) -> None:
    """`peer` answers the latest probe."""
    probes = lone.out("read_probe")
    number = probes[-1][1]["round"] if probes else 0
    lone.get(
        peer,
        {
            "type": "read_probe_reply",
            "term": lone.node.term if term is None else term,
            "round": number,
            "ok": ok,
        },
    )


def test_a_read_waits_for_a_quorum() -> None:
    lone, reads = leader(), list[int | None]()
    lone.node.read_index(reads.append)
    lone.node.tick()
    assert reads == []
    answer(lone, "C")
    assert reads == [2]


def test_refusals_strangers_and_other_terms_confirm_nothing() -> None:
    lone, reads = leader(), list[int | None]()
    lone.node.read_index(reads.append)
    lone.node.tick()
    number = lone.out("read_probe")[0][1]["round"]
    for peer, term, ok in (("B", 1, False), ("Z", 1, True), ("B", 0, True)):
        lone.get(peer, {"type": "read_probe_reply", "term": term, "round": number, "ok": ok})
    lone.get("B", {"type": "read_probe_reply", "term": 1, "round": number + 1, "ok": True})
    assert reads == []


def test_reads_share_a_round_and_later_ones_take_the_next() -> None:
    lone, reads = leader(), list[int | None]()
    for _ in range(3):
        lone.node.read_index(reads.append)
    lone.node.tick()
    lone.node.read_index(reads.append)
    lone.node.tick()
    assert len(lone.out("read_probe")) == 2  # one round, two peers
    lone, reads = leader(), list[int | None]()
    for _ in range(3):
        lone.node.read_index(reads.append)
    lone.node.tick()
    answer(lone, "B")
    assert reads == [2, 2, 2]


def test_a_probe_that_may_be_lost_is_repeated_to_those_who_are_silent() -> None:
    lone = LoneNode("ABCDE")
    lone.node.election_deadline = 0.0
    lone.node.tick()
    for peer in "BC":
        lone.get(peer, {"type": "pre_vote_reply", "term": 1, "current": 0, "ok": True})
    lone.node.tick()
    for peer in "BC":
        lone.get(peer, {"type": "response_vote", "term": 1})
    lone.node.tick()
    lone.sync()
    lone.reply("B", 3)
    lone.reply("C", 3)
    lone.node.tick()
    reads: list[int | None] = []
    lone.node.read_index(reads.append)
    lone.node.tick()
    answer(lone, "B")
    lone.wait(0.06)
    lone.node.tick()
    assert [peer for peer, _ in lone.out("read_probe")] == ["C", "D", "E"]


def test_a_new_leader_does_not_know_the_commit_index_until_its_no_op_is_committed() -> None:
    lone, reads = LoneNode(), list[int | None]()
    lone.become_leader()
    lone.node.read_index(reads.append)
    lone.node.tick()
    assert lone.out("read_probe") == []
    lone.sync()
    lone.reply("B", 3)
    lone.node.tick()
    answer(lone, "B")
    assert reads == [2]


def test_losing_leadership_fails_the_reads_that_wait() -> None:
    lone, reads = leader(), list[int | None]()
    lone.node.read_index(reads.append)
    lone.node.tick()
    lone.node.read_index(reads.append)
    lone.get("C", {"type": "term_notice", "term": 9})
    lone.node.tick()
    assert reads == [None, None]


def test_a_read_without_an_answer_is_given_up() -> None:
    lone, reads = leader(), list[int | None]()
    lone.node.read_index(reads.append)
    for _ in range(30):
        lone.node.tick()
        lone.wait(0.1)
        lone.reply("B", 3)  # alive, but it never answers the probe
    assert reads == [None]


def test_a_follower_asks_its_leader() -> None:
    lone, reads = LoneNode(), list[int | None]()
    lone.append("B", term=1)
    lone.out()
    lone.node.read_index(reads.append)
    ((peer, message),) = lone.out()
    assert (peer, message["type"]) == ("B", "read_index")
    lone.get("B", {"type": "read_index_reply", "id": message["id"] + 1, "index": 7})
    assert reads == []
    lone.get("B", {"type": "read_index_reply", "id": message["id"], "index": 7})
    lone.get("B", {"type": "read_index_reply", "id": message["id"], "index": 8})
    assert reads == [7]


def test_a_follower_gives_up_on_a_silent_leader() -> None:
    lone, reads = LoneNode(), list[int | None]()
    lone.append("B", term=1)
    lone.node.read_index(reads.append)
    lone.wait(2.1)
    lone.node.tick()
    assert reads == [None]


def test_without_a_leader_there_is_no_read() -> None:
    lone, reads = LoneNode(), list[int | None]()
    lone.node.read_index(reads.append)
    assert reads == [None]


def test_a_leader_answers_a_followers_read_when_confirmed_and_others_decline() -> None:
    lone = leader()
    lone.get("C", {"type": "read_index", "id": 5})
    lone.node.tick()
    answer(lone, "B")
    assert lone.out("read_index_reply") == [("C", {"type": "read_index_reply", "id": 5, "index": 2})]
    follower = LoneNode()
    follower.get("C", {"type": "read_index", "id": 5})
    assert follower.out() == [("C", {"type": "read_index_reply", "id": 5, "index": None})]


def test_a_probe_is_confirmed_for_the_current_term_only() -> None:
    lone = LoneNode()
    lone.append("B", term=3)
    lone.out()
    for term in (2, 3, 4):
        lone.get("B", {"type": "read_probe", "term": term, "round": term})
    assert [m["ok"] for _, m in lone.out()] == [False, True, False]


def test_a_cluster_of_one_confirms_at_once() -> None:
    lone, reads = LoneNode("A"), list[int | None]()
    lone.become_leader()
    lone.sync()
    lone.node.tick()
    lone.node.read_index(reads.append)
    lone.node.tick()
    assert reads == [2]


def test_too_many_reads_are_declined() -> None:
    lone, reads = leader(), list[int | None]()
    for _ in range(guard_read.READS_WAITING_MAX + 1):
        lone.node.read_index(reads.append)
    assert reads == [None] and lone.node.counts["reads_refused"] == 1


def test_numbers_start_anew_in_each_life() -> None:
    first, second = leader(), leader()
    assert first.node.guard.port.epoch == second.node.guard.port.epoch  # the same seed
    assert first.node.guard.port.epoch > 10**6
