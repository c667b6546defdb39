"""Warnings that repeat themselves are counted."""

from __future__ import annotations

import logging

import pytest

from raftstore.quiet import REMEMBERED_MAX, SAY_AGAIN_S, QuietLog


def test_a_thing_is_said_once_a_minute_and_then_how_often_it_was(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    quiet = QuietLog(logging.getLogger("quiet"), lambda: now)
    for _ in range(5):
        quiet.warning("a", "refused a")
    quiet.warning("b", "refused b")
    now = SAY_AGAIN_S
    quiet.warning("a", "refused a")
    assert [record.getMessage() for record in caplog.records] == [
        "refused a",
        "refused b",
        "refused a (and 4 times since the last such line)",
    ]


def test_memory_is_bounded() -> None:
    quiet = QuietLog(logging.getLogger("quiet"), lambda: 0.0)
    for number in range(3 * REMEMBERED_MAX):
        quiet.warning(number, "x")
    assert len(quiet._said) <= REMEMBERED_MAX
