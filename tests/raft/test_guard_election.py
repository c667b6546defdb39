"""Elections' rules, one node under test."""

from __future__ import annotations

import pytest

from chaos.sim.lone import LoneNode, Message

PATIENCE = 0.3


def asked(term: int, index: int = 1, last_term: int = 0, **fields: object) -> Message:
    return {"term": term, "last_log_index": index, "last_log_term": last_term, **fields}


def pre_vote(lone: LoneNode, peer: str = "B", **fields: object) -> bool:
    """Ask the node for a pre-vote; its answer."""
    lone.out()
    lone.get(peer, {"type": "pre_vote", **fields})
    ((to, reply),) = lone.out()
    assert to == peer and reply["type"] == "pre_vote_reply"
    return bool(reply["ok"])


def vote(lone: LoneNode, peer: str = "B", transfer: bool = False, **fields: object) -> bool:
    """Ask the node for its vote; whether it came."""
    lone.out()
    lone.get(peer, {"type": "request_vote", "transfer": transfer, **fields})
    return any(to == peer and m["type"] == "response_vote" for to, m in lone.out())


def test_a_timeout_asks_for_pre_votes_and_does_not_raise_the_term() -> None:
    lone = LoneNode()
    lone.node.election_deadline = 0.0
    for _ in range(3):
        lone.node.tick()
    assert [(peer, m["type"], m["term"]) for peer, m in lone.out()] == [
        ("B", "pre_vote", 1),
        ("C", "pre_vote", 1),
    ]
    assert lone.node.term == 0 and lone.node.role == "follower"


def test_a_pre_vote_is_asked_again_after_a_while() -> None:
    lone = LoneNode()
    lone.node.election_deadline = 0.0
    lone.node.tick()
    lone.wait(PATIENCE + 0.01)
    lone.node.tick()
    assert len(lone.out("pre_vote")) == 4


def test_an_election_follows_a_won_pre_vote_only() -> None:
    lone = LoneNode()
    lone.node.election_deadline = 0.0
    lone.node.tick()
    for reply in (
        {"term": 1, "current": 0, "ok": False},
        {"term": 7, "current": 0, "ok": True},
    ):
        lone.get("B", {"type": "pre_vote_reply", **reply})
        lone.node.tick()
        assert lone.node.role == "follower"
    lone.get("Z", {"type": "pre_vote_reply", "term": 1, "current": 0, "ok": True})
    lone.node.tick()
    assert lone.node.role == "follower"
    lone.get("C", {"type": "pre_vote_reply", "term": 1, "current": 0, "ok": True})
    lone.node.tick()
    assert lone.node.role == "candidate" and lone.node.term == 1


def test_a_pre_vote_reply_may_bring_a_higher_term() -> None:
    lone = LoneNode()
    lone.node.election_deadline = 0.0
    lone.node.tick()
    lone.get("B", {"type": "pre_vote_reply", "term": 1, "current": 6, "ok": False})
    assert lone.node.term == 6


@pytest.mark.parametrize(
    ("fields", "granted"),
    [
        (asked(3, 4, 2), True),
        (asked(3, 9, 2), True),
        (asked(3, 1, 3), True),
        (asked(3, 3, 2), False),  # shorter log
        (asked(3, 9, 1), False),  # older term at the end
        (asked(2, 4, 2), False),  # no newer term
    ],
)
def test_pre_votes_go_to_logs_at_least_as_good(fields: Message, granted: bool) -> None:
    lone = LoneNode()
    lone.append(term=2, entries=[(b"\x00x", i, 2) for i in (2, 3, 4)])
    lone.sync()
    lone.wait(1)
    assert pre_vote(lone, **fields) is granted


def test_who_hears_a_leader_grants_no_pre_vote_and_no_vote() -> None:
    lone = LoneNode()
    lone.append(term=1)
    lone.wait(PATIENCE - 0.01)
    assert not pre_vote(lone, "C", **asked(2))
    assert not vote(lone, "C", **asked(2))
    assert lone.node.term == 1 and lone.node.counts["loyal"] == 1
    lone.wait(0.02)
    assert pre_vote(lone, "C", **asked(2))
    assert vote(lone, "C", **asked(2))


def test_a_transfer_overrides_loyalty() -> None:
    lone = LoneNode()
    lone.append(term=1)
    assert vote(lone, "C", transfer=True, **asked(2))


def test_a_leader_that_hears_a_quorum_is_loyal_to_itself() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.reply("C", 3)
    assert not vote(lone, "B", **asked(9, 9, 9)) and lone.node.is_leader
    lone.wait(PATIENCE)
    assert vote(lone, "B", **asked(9, 9, 9)) and not lone.node.is_leader


def test_one_vote_per_term_also_after_a_power_cut() -> None:
    lone = LoneNode()
    assert vote(lone, "B", **asked(1))
    assert not vote(lone, "C", **asked(1))
    lone.disk.power_cut()
    again = LoneNode(disk=lone.disk)
    assert again.node.term == 1
    assert not vote(again, "C", **asked(1))


def test_a_candidate_of_an_old_term_is_told_the_new_one() -> None:
    lone = LoneNode()
    lone.append(term=5)
    lone.out()
    lone.get("C", {"type": "request_vote", "transfer": False, **asked(3)})
    assert lone.out() == [("C", {"type": "term_notice", "term": 5})]


def test_a_term_notice_makes_a_leader_step_down() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.get("C", {"type": "term_notice", "term": 1})
    assert lone.node.is_leader
    lone.get("C", {"type": "term_notice", "term": 2})
    assert not lone.node.is_leader and lone.node.term == 2


def test_votes_count_once_and_voters_only() -> None:
    lone = LoneNode("ABCDE")
    lone.node.election_deadline = 0.0
    lone.node.tick()
    for peer in "BC":
        lone.get(peer, {"type": "pre_vote_reply", "term": 1, "current": 0, "ok": True})
    lone.node.tick()
    assert lone.node.role == "candidate"
    for peer, term in (("B", 1), ("B", 1), ("Z", 1), ("C", 0)):
        lone.get(peer, {"type": "response_vote", "term": term})
    assert lone.node.role == "candidate"
    lone.get("C", {"type": "response_vote", "term": 1})
    assert lone.node.is_leader


def test_timeout_now_is_obeyed_from_the_leader_only() -> None:
    lone = LoneNode()
    lone.append("B", term=1)
    for peer, term in (("C", 1), ("B", 0)):
        lone.get(peer, {"type": "timeout_now", "term": term})
        lone.node.tick()
        assert lone.node.role == "follower"
    lone.get("B", {"type": "timeout_now", "term": 1})
    lone.out()
    lone.node.tick()
    assert lone.node.role == "candidate"
    assert [m["transfer"] for _, m in lone.out("request_vote")] == [True, True]


def test_who_has_no_vote_never_stands() -> None:
    lone = LoneNode("BC")
    lone.node.election_deadline = 0.0
    lone.wait(10)
    lone.node.tick()
    lone.append("B", term=1)
    lone.get("B", {"type": "timeout_now", "term": 1})
    lone.node.tick()
    assert lone.node.role == "observer" and lone.out("pre_vote") == [] == lone.out("request_vote")


def follower() -> LoneNode:
    """A, which follows C."""
    lone = LoneNode()
    lone.append("C")
    lone.sync()
    lone.out()
    return lone


def test_a_leader_whose_connection_closes_is_not_waited_for() -> None:
    lone = follower()
    assert not pre_vote(lone, "B", **asked(2, 9, 9))  # loyal as yet
    lone.node.peer_down("C")
    assert pre_vote(lone, "B", **asked(2, 9, 9))
    lone.wait(lone.config.heartbeat_s)
    lone.node.tick()
    assert [peer for peer, _ in lone.out("pre_vote")] == ["B", "C"]


def test_voters_ask_one_after_the_other_when_the_leader_is_gone() -> None:
    lone = LoneNode("ABCDE")
    lone.append("E")
    lone.sync()
    lone.node.peer_down("E")
    first = lone.node.election_deadline - lone.now
    assert 0 < first < lone.config.heartbeat_s
    other = LoneNode(("0", "1", "A", "E"))  # two of the survivors come before this one
    other.append("E")
    other.sync()
    other.node.peer_down("E")
    assert 2 * lone.config.heartbeat_s < other.node.election_deadline - other.now < PATIENCE


def test_a_leader_that_speaks_again_is_followed_as_before() -> None:
    lone = follower()
    lone.node.peer_down("C")
    lone.node.peer_up("C")
    lone.append("C", q=2)
    assert lone.node.election_deadline - lone.now >= PATIENCE
    assert not pre_vote(lone, "B", **asked(2, 9, 9))


def test_another_follower_that_goes_changes_nothing() -> None:
    lone = follower()
    deadline = lone.node.election_deadline
    lone.node.peer_down("B")
    assert lone.node.election_deadline == deadline
    assert not pre_vote(lone, "B", **asked(2, 9, 9))


def test_while_the_leader_is_gone_pre_votes_are_asked_again_soon() -> None:
    """The first may have come before the other had noticed."""
    lone = follower()
    lone.node.peer_down("C")
    lone.node.election_deadline = 0.0
    lone.node.tick()
    lone.wait(lone.config.heartbeat_s + 0.01)
    lone.node.tick()
    assert len(lone.out("pre_vote")) == 4
