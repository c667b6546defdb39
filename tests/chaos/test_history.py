"""Events have one form, whoever tells them; and logs that differ are told apart."""

from __future__ import annotations

import pytest

from chaos.history import History, Unforeseen, check_logs_agree, document, judge, told_by_log, told_by_watch
from chaos.truth import from_lines, to_lines
from cp.api.events import event_body
from mesh.codec import decode, encode_value
from raftstore.guarantees import Convergent
from raftstore.types import Commit, Event, Key, Op


def event(index: int, name: str = "a", value: str | None = "v1", *, kind: str = "MeshTimeout") -> Event:
    body = None if value is None else encode_value(decode(document(name, value)))
    op = Op.DELETE if value is None else Op.PUT
    key = Key(kind, "default", name)
    return Event(index, 3, 1000, "admin", "request#2", "why", "cp-1", op, key, body, 4, 900)


def commit(index: int, *values: str | None) -> Commit:
    return Commit(index, tuple(event(index, f"n{number}", value) for number, value in enumerate(values)))


def seen(*commits: Commit) -> list[Commit]:
    return [told for each in commits if (told := told_by_log(each))]


def test_the_log_and_the_watch_tell_the_same_event_alike() -> None:
    written = commit(7, "v1", None)
    body = {"index": 7, "events": [event_body(each) for each in written.events]}
    told = told_by_log(written)
    assert told == told_by_watch(body)
    assert told is not None and told.events[0].value == b"v1" and told.events[1].value is None
    assert told.events[0].request_id == "request"


def test_events_of_other_kinds_are_left_out() -> None:
    mixed = Commit(3, (event(3, kind="Mesh"), event(3)))
    told = told_by_log(mixed)
    assert told is not None and len(told.events) == 1
    assert told_by_log(Commit(4, (event(4, kind="Mesh"),))) is None


def test_a_log_survives_its_way_out_of_a_container() -> None:
    commits = seen(commit(1, "v1"), commit(2, "v2", None))
    assert from_lines(to_lines(commits)) == commits


def test_equal_logs_agree() -> None:
    commits = seen(commit(1, "v1"), commit(2, "v2"))
    check_logs_agree({"r1": commits, "r2": list(commits)})


def test_another_value_and_a_missing_commit_are_divergence() -> None:
    commits = seen(commit(1, "v1"), commit(2, "v2"))
    with pytest.raises(Convergent, match="r1 and r2 differ at index 2"):
        check_logs_agree({"r1": commits, "r2": seen(commit(1, "v1"), commit(2, "other"))})
    with pytest.raises(Convergent, match="r2 lacks commit 2"):
        check_logs_agree({"r1": commits, "r2": commits[:1]})


def test_a_run_whose_log_nobody_has_is_not_found_right() -> None:
    assert [type(each) for each in judge(History(), {})] == [Unforeseen]
