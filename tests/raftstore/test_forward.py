"""Writes on their way to the leader: order, once, and honest errors. No network, virtual time."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftstore import limits
from raftstore.codec import decode_batch, encode_txn
from raftstore.errors import Overloaded, TooLarge, Unavailable, UnknownOutcome
from raftstore.forward import (
    Answer,
    Forwarder,
    Intake,
    Request,
    Verdict,
    answers_from_wire,
    answers_to_wire,
    request_from_wire,
    request_to_wire,
)
from raftstore.machine import StateMachine
from raftstore.node import Fate, ProposeResult
from raftstore.types import Key, Outcome, Put, Txn

GRACE_S = 2.0


def txn(n: int, size: int = 1) -> bytes:
    return encode_txn(Txn((Put(Key("K", "m", "n"), b"x" * size),), request_id=f"r{n}"))


class Results:
    def __init__(self) -> None:
        self.got: dict[int, object] = {}

    def of(self, n: int) -> Callable[[object], None]:
        def take(result: object) -> None:
            assert n not in self.got, "an answer is given once"
            self.got[n] = result

        return take


def forwarder(now: float = 0.0) -> Forwarder:
    return Forwarder(GRACE_S, now, random.Random(7))


def numbers(requests: list[Request]) -> list[int]:
    return [request.seq + i for request in requests for i in range(len(request.txns))]


def test_writes_go_to_the_leader_in_order_and_answers_come_back() -> None:
    sender, results = forwarder(), Results()
    sender.set_route("n1", 0.0)
    for n in (1, 2, 3):
        sender.submit(txn(n), 5.0, 0.0, results.of(n))
    (request,) = sender.flush(0.0)
    assert (request.to, request.seq, len(request.txns)) == ("n1", 1, 3)
    assert sender.flush(0.0) == []
    sender.answered(request.epoch, [Answer(2, Verdict.APPLIED, Outcome(9))], 0.1)
    assert results.got == {2: Outcome(9)} and len(sender) == 2


def test_a_new_leader_is_sent_everything_that_is_open_in_order() -> None:
    sender, results = forwarder(), Results()
    sender.set_route("n1", 0.0)
    for n in (1, 2, 3):
        sender.submit(txn(n), 5.0, 0.0, results.of(n))
    (first,) = sender.flush(0.0)
    sender.answered(first.epoch, [Answer(2, Verdict.APPLIED, Outcome(4))], 0.1)
    sender.set_route(None, 0.2)
    assert sender.flush(0.2) == []
    sender.set_route("n2", 0.3)
    again = sender.flush(0.3)
    assert numbers(again) == [1, 3] and {r.to for r in again} == {"n2"}
    assert all(request.epoch > first.epoch for request in again)
    # The old leader had it all the same: its word counts, since the number is the same write.
    sender.answered(first.epoch, [Answer(1, Verdict.APPLIED, Outcome(4))], 0.4)
    assert results.got == {2: Outcome(4), 1: Outcome(4)}


def test_a_refusal_is_followed_by_a_pause_and_a_new_epoch() -> None:
    sender, results = forwarder(), Results()
    sender.set_route("n1", 0.0)
    sender.submit(txn(1), 5.0, 0.0, results.of(1))
    (first,) = sender.flush(0.0)
    sender.answered(first.epoch, [Answer(1, Verdict.REFUSED, None, "not the leader")], 1.0)
    assert sender.flush(1.0) == [] and results.got == {}
    (second,) = sender.flush(1.0 + limits.RESEND_S)
    assert second.seq == 1 and second.epoch > first.epoch


def test_late_without_being_sent_is_unavailable_and_says_why() -> None:
    sender, results = forwarder(), Results()
    sender.set_route(None, 0.0, "no quorum: only n3 of n1, n2, n3 is reachable")
    sender.submit(txn(1), 1.0, 0.0, results.of(1))
    sender.tick(0.9)
    assert results.got == {}
    sender.tick(1.0)
    error = results.got[1]
    assert isinstance(error, Unavailable) and "only n3" in error.reason


def test_late_after_being_sent_is_an_unknown_outcome() -> None:
    sender, results = forwarder(), Results()
    sender.set_route("n1", 0.0)
    sender.submit(txn(1), 1.0, 0.0, results.of(1))
    sender.flush(0.0)
    sender.tick(1.0)
    assert isinstance(results.got[1], UnknownOutcome) and results.got[1].retry


def test_sent_but_refused_is_unavailable_again() -> None:
    sender, results = forwarder(), Results()
    sender.set_route("n1", 0.0)
    sender.submit(txn(1), 1.0, 0.0, results.of(1))
    (request,) = sender.flush(0.0)
    sender.answered(request.epoch, [Answer(1, Verdict.REFUSED, None, "disk full")], 0.1)
    sender.tick(1.0)
    error = results.got[1]
    assert isinstance(error, Unavailable) and error.reason == "disk full" and error.leader == "n1"


def test_refused_by_the_second_leader_only_stays_unknown() -> None:
    """The first leader may still have it in its log."""
    sender, results = forwarder(), Results()
    sender.set_route("n1", 0.0)
    sender.submit(txn(1), 1.0, 0.0, results.of(1))
    sender.flush(0.0)
    sender.set_route("n2", 0.1)
    (second,) = sender.flush(0.1)
    sender.answered(second.epoch, [Answer(1, Verdict.REFUSED, None, "not the leader")], 0.2)
    sender.tick(1.0)
    assert isinstance(results.got[1], UnknownOutcome)


def test_without_a_leader_for_longer_than_an_election_takes_writes_fail_at_once() -> None:
    sender, results = forwarder(), Results()
    sender.submit(txn(1), 60.0, 0.0, results.of(1))
    sender.tick(GRACE_S + 0.1)
    assert isinstance(results.got[1], Unavailable)
    with pytest.raises(Unavailable):
        sender.submit(txn(2), 60.0, GRACE_S + 0.1, results.of(2))
    sender.hope(GRACE_S + 0.1)
    sender.submit(txn(4), 60.0, GRACE_S + 0.1, results.of(4))
    sender.set_route("n1", GRACE_S + 0.2)
    sender.submit(txn(3), 60.0, GRACE_S + 0.3, results.of(3))


def test_answers_for_a_former_process_of_the_same_name_are_not_believed() -> None:
    old, new = forwarder(), Forwarder(GRACE_S, 0.0, random.Random(8))
    results = Results()
    for sender in (old, new):
        sender.set_route("n1", 0.0)
        sender.submit(txn(1), 5.0, 0.0, results.of(1) if sender is new else lambda _: None)
    (stale,), (_,) = old.flush(0.0), new.flush(0.0)
    new.answered(stale.epoch, [Answer(1, Verdict.APPLIED, Outcome(3))], 0.1)
    assert results.got == {}


def test_too_much_is_refused_and_nothing_kept() -> None:
    sender, results = forwarder(), Results()
    for n in range(limits.SUBMITS_WAITING_MAX):
        sender.submit(b"x", 5.0, 0.0, results.of(n))
    with pytest.raises(Overloaded, match=f"{limits.SUBMITS_WAITING_MAX} writes are waiting"):
        sender.submit(b"x", 5.0, 0.0, results.of(-1))
    assert len(sender) == limits.SUBMITS_WAITING_MAX


def test_too_many_bytes_are_refused() -> None:
    sender, results = forwarder(), Results()
    big = b"x" * limits.TXN_BYTES_MAX
    for n in range(limits.SUBMITS_WAITING_BYTES_MAX // len(big)):
        sender.submit(big, 5.0, 0.0, results.of(n))
    with pytest.raises(Overloaded, match="bytes of writes are waiting"):
        sender.submit(big, 5.0, 0.0, results.of(-1))
    with pytest.raises(TooLarge, match="the limit is"):
        sender.submit(big + b"x", 5.0, 0.0, results.of(-1))


def test_large_writes_are_cut_into_several_requests() -> None:
    sender, results = forwarder(), Results()
    sender.set_route("n1", 0.0)
    for n in range(1, 6):
        sender.submit(txn(n, limits.FORWARD_BYTES // 2), 5.0, 0.0, results.of(n))
    requests = sender.flush(0.0)
    assert len(requests) > 1 and numbers(requests) == [1, 2, 3, 4, 5]


# --- the leader's half ---------------------------------------------------------------------


class Leader:
    """An Intake over a real state machine; proposals are decided when the test says so."""

    def __init__(self) -> None:
        self.machine = StateMachine()
        self.why_not = ""
        self.proposals: list[tuple[bytes, Callable[[ProposeResult], None]]] = []
        self.answers: list[tuple[str, int, Answer]] = []
        self.index = 0
        self.order: list[str] = []
        self.intake = Intake(
            propose=lambda command, on_done: self.proposals.append((command, on_done)),
            answer=lambda to, epoch, several: self.answers.extend((to, epoch, a) for a in several),
            time_ms=lambda: 1000,
            refusal=lambda: self.why_not,
        )

    def decide(self, fate: Fate = Fate.APPLIED) -> None:
        command, on_done = self.proposals.pop(0)
        applied = None
        if fate is Fate.APPLIED:
            self.index += 1
            applied = self.machine.apply(self.index, 1, command)
            self.order += [t.request_id for t in decode_batch(command).txns if t]
        on_done(ProposeResult(fate, self.index, 1, applied, "the reason"))


def test_what_waits_shares_one_entry_and_gets_its_own_outcome() -> None:
    leader = Leader()
    leader.intake.offer("n2", 5, 1, [txn(1), txn(2)])
    leader.intake.offer("n3", 8, 1, [txn(3)])
    leader.intake.flush()
    assert len(leader.proposals) == 1 and leader.intake.txns == 3
    leader.decide()
    assert [(to, epoch, a.seq, a.verdict) for to, epoch, a in leader.answers] == [
        ("n2", 5, 1, Verdict.APPLIED),
        ("n2", 5, 2, Verdict.APPLIED),
        ("n3", 8, 1, Verdict.APPLIED),
    ]


def test_few_entries_are_in_flight_and_the_rest_is_batched() -> None:
    leader = Leader()
    for n in range(limits.ENTRIES_IN_FLIGHT_MAX + 3):
        leader.intake.offer("n2", 5, n + 1, [txn(n)])
        leader.intake.flush()
    assert len(leader.proposals) == limits.ENTRIES_IN_FLIGHT_MAX
    leader.decide()
    leader.intake.flush()
    assert len(decode_batch(leader.proposals[-1][0]).txns) == 3


def test_after_a_refusal_the_rest_of_the_epoch_is_refused_too() -> None:
    leader = Leader()
    leader.why_not = "not the leader"
    leader.intake.offer("n2", 5, 1, [txn(1)])
    leader.why_not = ""
    leader.intake.offer("n2", 5, 2, [txn(2)])
    assert [a.verdict for *_, a in leader.answers] == [Verdict.REFUSED, Verdict.REFUSED]
    leader.intake.offer("n2", 6, 1, [txn(1), txn(2)])
    leader.intake.flush()
    leader.decide()
    assert leader.order == ["r1", "r2"]


@pytest.mark.parametrize(
    ("fate", "verdict"),
    [(Fate.LOST, Verdict.REFUSED), (Fate.REFUSED, Verdict.REFUSED), (Fate.UNKNOWN, Verdict.UNKNOWN)],
)
def test_each_fate_is_told_as_it_is(fate: Fate, verdict: Verdict) -> None:
    leader = Leader()
    leader.intake.offer("n2", 5, 1, [txn(1)])
    leader.intake.flush()
    leader.decide(fate)
    assert [a.verdict for *_, a in leader.answers] == [verdict]
    leader.intake.offer("n2", 5, 2, [txn(2)])
    assert leader.answers[-1][2].verdict is Verdict.REFUSED


def test_large_transactions_do_not_share_an_entry() -> None:
    leader = Leader()
    size = limits.ENTRY_TARGET_BYTES * 2 // 3
    leader.intake.offer("n2", 5, 1, [txn(1, size), txn(2, size)])
    leader.intake.flush()
    assert len(leader.proposals) == 2


# --- both together -------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(["submit", "flush", "decide", "lose", "switch", "refuse", "allow"]), max_size=60)
)
def test_order_and_once_hold_under_any_turn_of_events(steps: list[str]) -> None:
    """One log, a leader that refuses and loses entries, a route that breaks: first effects stay in order."""
    leader, sender, results = Leader(), forwarder(), Results()
    now, submitted = 0.0, 0
    sender.set_route("a", now)

    def deliver(at: float) -> None:
        for request in sender.flush(at):
            leader.intake.offer("n2", request.epoch, request.seq, request.txns)
        leader.intake.flush()
        answers, leader.answers = leader.answers, []
        for _, epoch, answer in answers:
            sender.answered(epoch, [answer], at)

    for step in steps:
        now += limits.RESEND_S / 2
        if step == "submit":
            submitted += 1
            sender.submit(txn(submitted), 1e9, now, results.of(submitted))
        elif step == "decide" and leader.proposals:
            leader.decide()
        elif step == "lose":
            while leader.proposals:  # a new leader's log replaces the whole tail
                leader.decide(Fate.LOST)
        elif step == "switch":
            sender.set_route("b" if sender.leader == "a" else "a", now)
        elif step in ("refuse", "allow"):
            leader.why_not = "no" if step == "refuse" else ""
        deliver(now)
    leader.why_not = ""
    while len(sender):
        now += limits.RESEND_S
        deliver(now)
        while leader.proposals:
            leader.decide()
    first_effects = list(dict.fromkeys(leader.order))
    assert first_effects == [f"r{n + 1}" for n in range(submitted)]
    indexes = [results.got[n + 1].index for n in range(submitted)]
    assert indexes == sorted(indexes) and all(
        isinstance(results.got[n + 1], Outcome) for n in range(submitted)
    )
    assert leader.machine.state.records.count == (1 if submitted else 0)


def test_the_wire_forms_come_back_as_they_were() -> None:
    assert request_from_wire(request_to_wire(Request("n1", 5, 2, [b"a", b"b"]))) == (5, 2, (b"a", b"b"))
    answers = [Answer(1, Verdict.APPLIED, Outcome(4, 0, 2)), Answer(2, Verdict.REFUSED, None, "why")]
    assert answers_from_wire(answers_to_wire(5, answers)) == (5, answers)


@pytest.mark.parametrize(
    "wire", [("submit",), ("submit", 1, 1, ()), ("submit", 1, 1, ("x",)), ("submit", "1", 1, (b"x",))]
)
def test_misshapen_requests_are_refused(wire: tuple) -> None:
    with pytest.raises(ValueError, match="wrong shape"):
        request_from_wire(wire)


@pytest.mark.parametrize(
    "wire", [("answers",), ("answers", 1, ((1, 9, None, ""),)), ("answers", 1, ((1, 0, (1,), ""),))]
)
def test_misshapen_answers_are_refused(wire: tuple) -> None:
    with pytest.raises(ValueError):
        answers_from_wire(wire)
