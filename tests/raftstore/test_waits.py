"""Waiting for an index to be applied, or for an answer."""

from __future__ import annotations

from raftstore.waits import Answers, AppliedWaits


def test_each_is_told_once_when_its_index_is_applied() -> None:
    waits, told = AppliedWaits(), []
    for index in (5, 3, 4):
        waits.add(index, 10.0, lambda ok, index=index: told.append((index, ok)))
    waits.applied(2)
    assert told == []
    waits.applied(4)
    assert told == [(3, True), (4, True)]
    waits.applied(9)
    waits.tick(99.0)
    assert told == [(3, True), (4, True), (5, True)] and len(waits) == 0


def test_what_is_applied_already_is_told_at_once() -> None:
    waits, told = AppliedWaits(), []
    waits.applied(7)
    waits.add(7, 1.0, told.append)
    assert told == [True]


def test_a_deadline_ends_the_waiting() -> None:
    waits, told = AppliedWaits(), []
    waits.add(5, 1.0, told.append)
    waits.tick(0.9)
    assert told == []
    waits.tick(1.0)
    waits.applied(5)
    assert told == [False]


def test_an_answer_is_given_once_by_whoever_is_first() -> None:
    answers: Answers[str] = Answers()
    told: list[str] = []
    early, late = answers.add(2.0, told.append), answers.add(1.0, told.append)
    answers.answer(early, "known")
    assert told == ["known"] and early not in answers and late in answers
    answers.tick(0.9, lambda: "late")
    assert told == ["known"]
    answers.tick(1.0, lambda: "late")
    answers.answer(late, "too late")
    answers.tick(9.0, lambda: "late")
    assert told == ["known", "late"] and len(answers) == 0


def test_why_it_is_late_is_asked_when_it_is() -> None:
    answers: Answers[int] = Answers()
    told: list[int] = []
    for _ in range(2):
        answers.add(1.0, told.append)
    answers.tick(0.5, lambda: 1 // 0)
    answers.tick(float("inf"), lambda: len(told))
    assert told == [0, 1]
