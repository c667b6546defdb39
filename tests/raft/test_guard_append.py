"""Replication's rules, one node under test."""

from __future__ import annotations

from chaos.sim.lone import LoneNode
from raftstore.entries import REGULAR


def entry(index: int, term: int = 1, command: bytes = b"x") -> tuple[bytes, int, int]:
    return (REGULAR + command, index, term)


def run(first: int, last: int, term: int = 1) -> list[tuple[bytes, int, int]]:
    return [entry(index, term) for index in range(first, last + 1)]


# --- the follower ------------------------------------------------------------------------


def test_entries_are_acknowledged_only_when_they_are_on_disk() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 4), q=7)
    (alive,) = lone.out()
    assert alive[1]["success"] is False and alive[1]["reset"] is False
    lone.sync()
    ((peer, reply),) = lone.out()
    assert peer == "B"
    assert (reply["success"], reply["next_node_idx"], reply["term"], reply["q"]) == (True, 5, 1, 7)


def test_of_many_waiting_acknowledgements_the_latest_that_is_durable_leaves() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 2), q=1)
    batch = lone.wal.take()
    lone.append(after=(2, 1), entries=run(3, 3), q=2)
    lone.append(after=(3, 1), entries=run(4, 4), q=3)
    lone.out()
    assert batch is not None
    lone.wal.write(batch)
    lone.wal.mark_durable(batch.lsn)
    lone.node.durable()
    assert [m["next_node_idx"] for _, m in lone.out()] == [3]
    lone.sync()
    assert [m["next_node_idx"] for _, m in lone.out()] == [5]


def test_an_acknowledgement_of_an_old_term_is_never_sent() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 4))
    lone.out()
    lone.append("C", term=2, after=(1, 0), entries=run(2, 2, term=2))
    lone.sync()
    assert [(peer, m["term"], m["next_node_idx"]) for peer, m in lone.out() if m["success"]] == [("C", 2, 3)]


def test_a_late_copy_cuts_nothing_and_claims_only_what_it_proves() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 6))
    lone.sync()
    lone.out()
    lone.append(entries=run(2, 3))
    assert lone.log()[-1] == (6, 1)
    ((_, reply),) = lone.out()
    assert reply["next_node_idx"] == 4
    assert lone.node.counts["nothing_cut"] == 1


def test_a_conflict_cuts_the_tail() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 6))
    lone.append("C", term=2, after=(3, 1), entries=[entry(4, 2)])
    assert lone.log()[-3:] == [(2, 1), (3, 1), (4, 2)]


def test_known_entries_are_skipped_and_new_ones_added() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 4))
    lone.append(after=(2, 1), entries=run(3, 6))
    assert lone.log()[-1] == (6, 1)
    assert lone.node.counts["known_entries"] == 1


def test_commit_does_not_pass_what_the_append_proves() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 6), commit=1)
    lone.append(term=2, after=(3, 1), commit=6)
    assert lone.node.commit_index == 3


def test_a_leader_that_contradicts_a_committed_entry_is_refused() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 4), commit=4)
    for after, entries in (((3, 2), []), ((2, 1), [entry(3, 2)])):
        bad = lone.append("C", term=2, after=after, entries=entries)
        assert bad is not None and "contradicts a committed one" in bad.reason
    assert lone.log()[-1] == (4, 1) and lone.node.counts["contradiction"] == 2


def test_a_gap_is_answered_with_the_end_of_the_log() -> None:
    lone = LoneNode()
    lone.append(after=(9, 1), entries=run(10, 10), q=3)
    ((_, reply),) = lone.out()
    assert (reply["reset"], reply["next_node_idx"], reply["q"]) == (True, 2, 3)


def test_a_conflict_is_answered_with_the_first_index_of_its_term() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 4))
    lone.append(term=2, after=(4, 1), entries=run(5, 9, term=2))
    lone.out()
    lone.append("C", term=3, after=(9, 3))
    ((_, reply),) = lone.out()
    assert (reply["reset"], reply["next_node_idx"]) == (True, 5)


def test_an_append_below_the_compacted_log_is_acknowledged_as_far_as_it_goes() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 8), commit=8)
    lone.node.tick()
    lone.sync()
    lone.wal.drop_to(6)
    lone.out()
    lone.append(after=(2, 1), entries=run(3, 4))
    assert lone.out()[0][1]["next_node_idx"] == 5
    lone.append(after=(4, 1), entries=run(5, 9))
    lone.sync()
    assert lone.log() == [(6, 1), (7, 1), (8, 1), (9, 1)]
    assert lone.out()[-1][1]["next_node_idx"] == 10


def test_an_append_of_an_old_term_is_answered_with_the_new_one() -> None:
    lone = LoneNode()
    lone.append(term=3)
    lone.out()
    lone.append("C", term=2, entries=run(2, 2))
    assert lone.out() == [("C", {"type": "term_notice", "term": 3})]
    assert lone.log() == [(1, 0)]


def test_a_heartbeat_commits_nothing_of_a_log_it_says_nothing_about() -> None:
    lone = LoneNode()
    lone.append(entries=run(2, 6))
    lone.sync()
    lone.out()
    lone.get("C", {"type": "heartbeat", "term": 2, "q": 1, "commit_index": 6})
    assert lone.node.commit_index == 1 and lone.node.leader == "C"
    ((_, reply),) = lone.out()
    assert (reply["success"], reply["next_node_idx"]) == (True, 2)


# --- the leader --------------------------------------------------------------------------


def test_a_leader_commits_what_a_majority_holds_itself_included() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.reply("B", 3)
    lone.node.tick()
    assert lone.node.commit_index == 1  # B has it, but our own disk has not
    lone.sync()
    lone.node.tick()
    assert lone.node.commit_index == 2


def test_a_reply_of_another_term_counts_for_nothing() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.sync()
    lone.reply("B", 3, term=0)
    lone.node.tick()
    assert lone.node.commit_index == 1 and lone.node.counts["stale_reply"] == 1


def test_a_reply_of_a_higher_term_deposes() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.reply("B", 3, term=5)
    assert not lone.node.is_leader and lone.node.term == 5


def test_impossible_claims_are_refused() -> None:
    lone = LoneNode()
    lone.become_leader()
    for next_index, fields, reason in (
        (9, {}, "next index 9 of a log that ends at 2"),
        (0, {}, "next index 0"),
        (3, {"q": 99}, "answers append 99 but 1 was the last sent"),
        (3, {"reset": True}, "both success and reset"),
    ):
        bad = lone.reply("B", next_index, **fields)
        assert bad is not None and reason in bad.reason


def test_of_two_rewinds_for_one_pipeline_the_second_is_stale() -> None:
    lone = LoneNode()
    lone.become_leader()
    for _ in range(3):
        lone.node.propose(b"x", lambda result: None)
        lone.node.tick()
    lone.out()
    lone.reply("B", 2, q=2, reset=True, success=False)
    lone.node.tick()
    assert [m["prevLogIdx"] for peer, m in lone.out() if peer == "B"] == [1]
    lone.reply("B", 2, q=3, reset=True, success=False)
    assert lone.node.counts["stale_rewind"] == 1
    lone.node.tick()
    assert [m for peer, m in lone.out() if peer == "B"] == []


def test_an_acknowledgement_of_old_entries_does_not_rewind_the_pipeline() -> None:
    lone = LoneNode()
    lone.become_leader()
    for _ in range(3):
        lone.node.propose(b"x", lambda result: None)
        lone.node.tick()
    lone.out()
    lone.reply("B", 3, q=1)
    lone.node.propose(b"y", lambda result: None)
    lone.node.tick()
    assert [[e[1] for e in m["entries"]] for peer, m in lone.out() if peer == "B"] == [[6]]


def test_a_follower_that_lost_its_log_matches_nothing() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.reply("B", 3)
    assert lone.node.match_index("B") == 2
    lone.reply("B", 2, reset=True, success=False)
    assert lone.node.match_index("B") == 1


def test_a_stranger_counts_for_nothing() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.sync()
    lone.reply("Z", 3)
    lone.node.tick()
    assert lone.node.commit_index == 1


def test_a_leader_without_replies_steps_down_within_an_election_timeout() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.reply("C", 3)
    assert lone.node.has_quorum(lone.now)
    lone.wait(lone.config.election_timeout_min_s + 0.01)
    assert not lone.node.has_quorum(lone.now)
    lone.node.tick()
    assert lone.node.is_leader
    lone.wait(lone.config.election_timeout_max_s - lone.config.election_timeout_min_s)
    lone.node.tick()
    assert not lone.node.is_leader


def test_late_replies_do_not_keep_a_leader_in_office() -> None:
    """What counts is when the answered append was sent: a slow link may deliver echoes for long."""
    lone = LoneNode()
    lone.become_leader()
    for _ in range(13):
        lone.wait(0.05)
        lone.reply("B", 3, q=1)
        lone.node.tick()
    assert not lone.node.is_leader


def test_fresh_replies_do() -> None:
    lone = LoneNode()
    lone.become_leader()
    lone.keep_leading(2.0)
    assert lone.node.is_leader and lone.node.has_quorum(lone.now)


def test_a_second_leader_of_the_same_term_is_refused() -> None:
    lone = LoneNode()
    lone.become_leader()
    bad = lone.append("C", term=lone.node.term)
    assert bad is not None and "a second leader of term 1" in bad.reason
