"""The window of the past: what is kept, what is let go, and what is said then."""

from __future__ import annotations

import pytest

from cp.history import History
from mesh.resource import Resource
from mesh.view import View
from raftstore.errors import Compacted
from raftstore.types import Commit, Event, Key, Op


def commit(index: int, size: int = 0) -> Commit:
    key = Key("Mesh", "", "m")
    return Commit(index, (Event(index, 1, 0, "", "", "", "", Op.PUT, key, b"x" * size, 0, 0),))


def view(index: int) -> View:
    return View.of([Resource("Mesh", "", f"m{index}", version=index)], index) if index else View.empty()


def filled(*indexes: int, **limits: int) -> History:
    history = History(view(0), **limits)
    for index in indexes:
        history.append(commit(index), view(index))
    return history


def test_the_state_at_an_index_is_after_the_last_commit_not_later() -> None:
    history = filled(3, 7, 9)
    assert [history.at(index).index for index in (0, 2, 3, 6, 7, 8, 9, 100)] == [0, 0, 3, 3, 7, 7, 9, 9]


def test_commits_after_an_index() -> None:
    history = filled(3, 7, 9)
    assert [c.index for c in history.after(3)] == [7, 9]
    assert [c.index for c in history.after(0)] == [3, 7, 9]
    assert list(history.after(9)) == []


def test_beyond_the_window_the_answer_is_compacted() -> None:
    history = filled(*range(1, 101), commits_max=10)
    assert len(history) == 10
    assert history.base_index == 90
    assert history.at(90).index == 90
    assert [entry.commit.index for entry in history.newest_first()] == list(range(100, 90, -1))
    for ask in (lambda: history.at(89), lambda: history.after(89)):
        with pytest.raises(Compacted) as caught:
            ask()
        assert caught.value.first_index == 90


def test_bytes_are_bounded_too_but_the_last_commit_stays() -> None:
    history = History(view(0), bytes_max=3000)
    for index in range(1, 6):
        history.append(commit(index, 1000), view(index))
    assert len(history) == 2
    history.append(commit(6, 10_000), view(6))
    assert [c.index for c in history.after(5)] == [6]
