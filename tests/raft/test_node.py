"""The composed node: proposals and their fates, membership, transfer, snapshots, full disks."""

from __future__ import annotations

from chaos.sim.lone import LoneNode
from raftstore import node as node_module
from raftstore.core_start import SnapshotMeta
from raftstore.entries import NO_OP
from raftstore.limits import BATCH_BYTES_MAX
from raftstore.node import Fate, ProposeResult
from raftstore.wal.memdisk import MemoryDisk


def leader(voters: str = "ABC", **fields: object) -> LoneNode:
    """A leader that has committed an entry of its term."""
    lone = LoneNode(voters, **fields)  # type: ignore[arg-type]
    lone.become_leader()
    lone.sync()
    if len(voters) > 1:
        lone.reply("B", lone.node.last_index + 1)
    lone.node.tick()
    assert lone.node.commit_index == lone.node.last_index
    lone.out()
    return lone


# --- proposals ---------------------------------------------------------------------------


def test_a_proposal_is_applied_once_committed_and_says_so() -> None:
    lone, results, applied = leader(), list[ProposeResult](), list[int]()
    lone.node.on_applied = applied.append
    lone.node.propose(b"hello", results.append)
    lone.node.tick()
    lone.reply("B", 4)
    lone.node.tick()
    assert results == []  # the leader's own disk
    lone.sync()
    lone.node.tick()
    assert results == [ProposeResult(Fate.APPLIED, 3, 1, "applied 3")]
    assert lone.machine.commands == [b"hello"] and applied == [3]


def test_only_a_leader_takes_proposals_in() -> None:
    lone, results = LoneNode(), list[ProposeResult]()
    lone.node.propose(b"x", results.append)
    assert results == [ProposeResult(Fate.REFUSED, reason="not the leader")]


def test_a_command_beyond_the_limit_is_refused() -> None:
    lone, results = leader(), list[ProposeResult]()
    lone.node.propose(b"x" * (BATCH_BYTES_MAX + 1), results.append)
    assert results[0].fate is Fate.REFUSED and "exceeds the limit of" in results[0].reason
    assert lone.node.last_index == 2


def test_too_many_proposals_in_flight_are_refused() -> None:
    lone, results = leader(), list[ProposeResult]()
    for _ in range(node_module.PROPOSALS_WAITING_MAX + 1):
        lone.node.propose(b"", results.append)
    assert [r.fate for r in results] == [Fate.REFUSED]


def test_a_proposal_that_another_entry_replaced_is_lost() -> None:
    lone, results = leader(), list[ProposeResult]()
    lone.node.propose(b"mine", results.append)
    lone.append("C", term=2, after=(2, 1), entries=[(NO_OP, 3, 2)], commit=3)
    lone.node.tick()
    assert results == [ProposeResult(Fate.LOST, 3, 1)]


def test_a_proposal_of_a_former_leader_becomes_unknown_after_an_election_timeout() -> None:
    lone, results = leader(), list[ProposeResult]()
    lone.node.propose(b"mine", results.append)
    lone.node.tick()
    lone.get("C", {"type": "term_notice", "term": 2})
    lone.wait(0.5)
    lone.node.tick()
    assert results == []
    lone.wait(0.2)
    lone.node.tick()
    assert results == [ProposeResult(Fate.UNKNOWN, 3, 1)]


def test_a_leader_again_knows_nothing_of_proposals_that_were_cut_meanwhile() -> None:
    lone, results = leader(), list[ProposeResult]()
    for command in (b"kept", b"cut"):
        lone.node.propose(command, results.append)
    lone.node.tick()
    lone.append("C", term=2, after=(3, 1), entries=[(NO_OP, 4, 2)])
    lone.sync()
    lone.wait(0.35)
    lone.become_leader()
    assert results == [ProposeResult(Fate.UNKNOWN, 4, 1)]
    lone.sync()
    lone.reply("B", lone.node.last_index + 1)
    lone.node.tick()
    assert results[1] == ProposeResult(Fate.APPLIED, 3, 1, "applied 3")


def test_a_callback_may_propose_again() -> None:
    lone, results = leader("A"), list[ProposeResult]()

    def again(result: ProposeResult) -> None:
        results.append(result)
        if len(results) < 3:
            lone.node.propose(b"next", again)

    lone.node.propose(b"first", again)
    for _ in range(5):
        lone.node.tick()
        lone.sync()
    assert [r.index for r in results] == [3, 4, 5]


# --- state -------------------------------------------------------------------------------


def test_role_changes_are_told() -> None:
    lone, roles = LoneNode(), list[tuple[str, str | None, int]]()
    lone.node.on_role = lambda role, leader, term: roles.append((role, leader, term))
    lone.become_leader()
    lone.append("C", term=4)
    assert roles == [("candidate", None, 1), ("leader", "A", 1), ("follower", "C", 4)]


def test_has_quorum_on_a_follower_means_it_hears_a_leader() -> None:
    lone = LoneNode()
    assert not lone.node.has_quorum(lone.now)
    lone.append("B", term=1)
    assert lone.node.has_quorum(lone.now)
    lone.wait(0.61)
    assert not lone.node.has_quorum(lone.now)


def test_restart_resumes_term_log_and_applied_state() -> None:
    lone = leader()
    lone.node.propose(b"x", lambda result: None)
    lone.sync()
    lone.reply("B", 4)
    lone.node.tick()
    lone.wal.close()
    again = LoneNode(disk=lone.disk)
    assert again.node.term == 1 and again.log() == [(1, 0), (2, 1), (3, 1)]
    again.node.tick()
    assert again.node.applied_index == again.node.commit_index == 3
    assert again.machine.commands == [b"x"]


# --- membership --------------------------------------------------------------------------


def test_a_change_is_in_effect_at_once_and_told_when_committed() -> None:
    lone, results, told = leader(), list[ProposeResult](), list[list[str]]()
    lone.node.on_membership = lambda voters: told.append(list(voters))
    lone.node.add_member("D", results.append)
    assert lone.node.voters == ("A", "B", "C", "D") and told == [["A", "B", "C", "D"]]
    lone.sync()
    lone.node.tick()
    lone.reply("B", 4)
    lone.node.tick()
    assert results == []  # two of four
    lone.reply("C", 4)
    lone.node.tick()
    assert results[0].fate is Fate.APPLIED


def test_changes_that_must_not_be() -> None:
    lone, results = leader(), list[ProposeResult]()
    lone.node.remove_member("A", results.append)
    lone.node.add_member("B", results.append)
    lone.node.remove_member("Z", results.append)
    lone.node.add_member("D", results.append)
    lone.node.add_member("E", results.append)
    assert [r.reason for r in results] == [
        "the leader cannot remove itself: transfer leadership first",
        "B is a voter already",
        "Z is not a voter",
        "another membership change is under way: try again",
    ]
    fresh = LoneNode()
    fresh.become_leader()
    fresh.node.add_member("D", results.append)
    assert results[-1].reason == "nothing of this term is committed yet: try again"


def test_a_change_that_is_cut_is_undone() -> None:
    lone = leader()
    lone.node.add_member("D", lambda result: None)
    lone.append("C", term=2, after=(2, 1), entries=[(NO_OP, 3, 2)])
    assert lone.node.voters == ("A", "B", "C")


def test_a_restart_finds_the_membership_in_the_log() -> None:
    lone = leader()
    lone.node.add_member("D", lambda result: None)
    lone.sync()
    again = LoneNode(disk=lone.disk)
    assert again.node.voters == ("A", "B", "C", "D")
    assert again.node.voters_at(2) == ("A", "B", "C")


def test_an_observer_gets_the_log_and_has_no_vote_until_it_is_added() -> None:
    lone = leader(observers=["O"])
    lone.node.propose(b"x", lambda result: None)
    lone.sync()
    lone.node.tick()
    assert [m["entries"][-1][1] for peer, m in lone.out("append_entries") if peer == "O"] == [3]
    lone.reply("O", 4)
    lone.node.tick()
    assert lone.node.match_index("O") == 3 and lone.node.commit_index == 2
    lone.reply("B", 4)
    lone.node.tick()
    lone.node.add_member("O", lambda result: None)
    assert lone.node.voters == ("A", "B", "C", "O")
    lone.node.tick()
    assert "O" in [peer for peer, _ in lone.out("append_entries")]


# --- transfer ----------------------------------------------------------------------------


def test_leadership_goes_to_a_peer_that_is_caught_up() -> None:
    lone, results = leader(), list[ProposeResult]()
    assert lone.node.transfer_leadership("C") == ""
    lone.node.tick()
    assert lone.out("timeout_now") == []  # C has not answered yet
    lone.node.propose(b"x", results.append)
    assert results[0].reason == "leadership is being handed over to C"
    lone.reply("C", 3)
    lone.node.tick()
    assert lone.out("timeout_now") == [("C", {"type": "timeout_now", "term": 1})]
    lone.node.tick()
    assert lone.out("timeout_now") == []


def test_a_transfer_that_leads_nowhere_ends() -> None:
    lone = leader()
    lone.node.transfer_leadership("C")
    assert lone.node.transferring == "C"
    lone.keep_leading(1.1)
    assert lone.node.transferring == "C"
    lone.keep_leading(0.2)
    assert lone.node.transferring is None and lone.node.is_leader


def test_transfers_that_must_not_be() -> None:
    lone = leader()
    assert lone.node.transfer_leadership("A") == "A is not another voter of A, B, C"
    assert lone.node.transfer_leadership("Z") == "Z is not another voter of A, B, C"
    lone.node.transfer_leadership("B")
    assert lone.node.transfer_leadership("C") == "already handing over to B"
    assert LoneNode().node.transfer_leadership("B") == "not the leader"


# --- snapshots ---------------------------------------------------------------------------


def test_a_peer_behind_the_log_is_reported_until_it_has_caught_up() -> None:
    lone, needed = leader(), list[str]()
    lone.node.on_snapshot_needed = needed.append
    for _ in range(4):
        lone.node.propose(b"x", lambda result: None)
    lone.sync()
    lone.node.tick()
    lone.reply("B", 7)
    lone.node.tick()
    lone.wal.drop_to(6)
    lone.reply("C", 2, reset=True, success=False)
    lone.node.tick()
    assert needed == ["C"]
    assert [m["type"] for peer, m in lone.out() if peer == "C"][-1] == "heartbeat"
    lone.reply("C", 7)
    lone.node.propose(b"y", lambda result: None)
    lone.node.tick()
    assert needed == ["C"]
    assert [e[1] for peer, m in lone.out("append_entries") if peer == "C" for e in m["entries"]] == [7]


def test_installing_a_snapshot_jumps_and_adopts_its_membership() -> None:
    lone, restored, applied = LoneNode(), list[bool](), list[int]()
    lone.node.on_applied = applied.append
    lone.append("B", term=3)
    meta = SnapshotMeta(50, 3, ("A", "B", "D"))
    assert lone.node.install_snapshot(meta, lambda: restored.append(True))
    assert restored == [True] and applied == [50]
    assert (lone.node.applied_index, lone.node.commit_index, lone.node.last_index) == (50, 50, 50)
    assert lone.node.voters == ("A", "B", "D")
    lone.append("B", term=3, after=(50, 3), entries=[(b"\x00x", 51, 3)], commit=51)
    lone.node.tick()
    assert lone.machine.commands == [b"x"]


def test_an_old_snapshot_changes_nothing() -> None:
    lone, restored = leader(), list[bool]()
    assert not lone.node.install_snapshot(SnapshotMeta(2, 1, ("A",)), lambda: restored.append(True))
    assert restored == [] and lone.node.voters == ("A", "B", "C")


def test_a_snapshot_inside_the_log_keeps_what_follows() -> None:
    lone = LoneNode()
    lone.append("B", term=1, entries=[(b"\x00x", i, 1) for i in range(2, 9)])
    assert lone.node.install_snapshot(SnapshotMeta(5, 1, ("A", "B", "C")), lambda: None)
    assert lone.node.last_index == 8 and lone.node.applied_index == 5


def test_a_snapshot_makes_the_proposals_below_it_unknown() -> None:
    lone, results = leader(), list[ProposeResult]()
    lone.node.propose(b"x", results.append)
    lone.node.install_snapshot(SnapshotMeta(9, 2, ("A", "B", "C")), lambda: None)
    assert [r.fate for r in results] == [Fate.UNKNOWN]


# --- a full disk -------------------------------------------------------------------------


def test_a_vote_that_cannot_be_kept_is_not_given() -> None:
    lone = LoneNode(disk=MemoryDisk(capacity=None))
    lone.out()
    lone.disk.capacity = lone.disk.used()
    lone.get(
        "B", {"type": "request_vote", "term": 1, "last_log_index": 1, "last_log_term": 0, "transfer": False}
    )
    assert lone.out() == []
    assert "No space left" in lone.node.read_only_reason
    lone.disk.capacity = None
    lone.sync()
    assert lone.node.read_only_reason == ""
    lone.get("C", {"type": "pre_vote", "term": 2, "last_log_index": 1, "last_log_term": 0})
    assert [m["type"] for _, m in lone.out()] == ["pre_vote_reply"]


def test_a_leader_with_a_full_disk_hands_over_and_refuses_writes() -> None:
    lone, results = leader(), list[ProposeResult]()
    lone.node.pause_writes("the disk is full")
    lone.node.propose(b"x", results.append)
    assert results[0].reason == "the disk is full"
    lone.node.tick()
    assert [peer for peer, _ in lone.out("timeout_now")] == ["B"]
    lone.node.pause_writes("")
    lone.keep_leading(1.3)
    lone.node.propose(b"x", results.append)
    assert len(results) == 1


def test_who_cannot_write_does_not_stand_for_election() -> None:
    lone = LoneNode()
    lone.node.pause_writes("the disk is full")
    lone.node.election_deadline = 0.0
    lone.node.tick()
    assert lone.out() == []


def test_a_vote_leaves_when_it_is_durable_and_not_before() -> None:
    lone = LoneNode()
    lone.wait(5)
    lone.wal.note_hard_state(7, "B")  # as a shell does that writes it in a thread
    lone.get("C", {"type": "pre_vote", "term": 8, "last_log_index": 9, "last_log_term": 5})
    assert lone.out() == []
    lone.sync()
    assert [peer for peer, _ in lone.out("pre_vote_reply")] == ["C"]


def test_messages_that_wait_for_a_full_disk_are_lost() -> None:
    lone = LoneNode()
    lone.wait(5)
    lone.wal.note_hard_state(7, "B")
    lone.node.pause_writes("the disk is full")
    lone.get("C", {"type": "pre_vote", "term": 8, "last_log_index": 9, "last_log_term": 5})
    assert lone.out() == []
    lone.sync()
    assert lone.out() == []


def test_a_leader_whose_disk_is_full_steps_down_for_a_successor_and_keeps_silent() -> None:
    """Found by the simulation: the error left it leader, of a term that another had won."""
    lone = leader()
    lone.disk.capacity = lone.disk.used()
    lone.get(
        "B", {"type": "request_vote", "term": 2, "last_log_index": 2, "last_log_term": 1, "transfer": True}
    )
    assert not lone.node.is_leader and lone.node.term == 2
    assert lone.out() == []
