"""Colours and progress: for a person at a terminal, and for nobody else."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from cp.cli.terminal import Progress, coloured


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, int]]:
    """A stream that a person would look at, and where to read what they would see."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    seen, shown = pty.openpty()
    with os.fdopen(shown, "w") as stream:
        yield stream, seen
    os.close(seen)


def test_a_person_sees_colours(terminal: tuple[TextIO, int], monkeypatch: pytest.MonkeyPatch) -> None:
    stream, _ = terminal
    assert coloured("    + a: 1", stream) == "\033[32m    + a: 1\033[0m"
    assert coloured('delete Mesh "m"', stream) == '\033[31mdelete Mesh "m"\033[0m'
    assert coloured('keep Mesh "m"', stream) == 'keep Mesh "m"'
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("    + a: 1", stream) == "    + a: 1"


def test_a_pipe_gets_plain_lines() -> None:
    pipe = io.StringIO()
    assert coloured("+ a", pipe) == "+ a"
    with Progress(pipe) as progress:
        progress.tell("1 of 2")
    assert pipe.getvalue() == ""
    assert not sys.stdout.isatty() or coloured("+ a") != "+ a"


def test_progress_is_one_line_that_goes_away(terminal: tuple[TextIO, int]) -> None:
    stream, seen = terminal
    with Progress(stream) as progress:
        progress.tell("1 of 2")
        progress.tell("2 of 2")
    expected = b"\r\033[K1 of 2\r\033[K2 of 2\r\033[K"
    told = b""
    while len(told) < len(expected):  # a terminal gives what it has
        told += os.read(seen, 1000)
    assert told == expected
