"""Shrunk scripts: what once broke a promise, or breaks it in a broken build, cut down to a few lines.

A file says in its first line which seed and, after `with`, which broken build it was made of,
in its second which promise broke. All hold with the real build. A bug that is found gets its
script here:

    raftmesh-sim --seed N --found tests/raft/scenarios/found
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.sim.broken import by_name
from chaos.sim.recording import Played, Recording
from chaos.sim.schedule import Schedule
from chaos.sim.shrink import shrink

SCRIPTS = sorted((Path(__file__).parent / "scenarios/found").glob("*.txt"))
LINES_MAX = 20


@pytest.fixture(autouse=True)
def quiet_core() -> Iterator[None]:
    """pysyncobj logs at length what the broken builds make it do."""
    logger = logging.getLogger("pysyncobj")
    before, logger.disabled = logger.disabled, True
    yield
    logger.disabled = before


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_holds_with_the_real_build(path: Path) -> None:
    assert Played(Recording.parse(path.read_text())).violation() is None


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_it_is_short_and_breaks_what_it_says_with_the_build_that_it_was_made_of(path: Path) -> None:
    where, what, *_ = path.read_text().splitlines()
    recording = Recording.parse(path.read_text())
    assert len(recording.lines) <= LINES_MAX
    _, with_build, build = where.partition(" with ")
    if with_build:
        violation = Played(recording, by_name(build)).violation()
        assert violation is not None and what == f"# {type(violation).__name__}: {violation}"


def test_shrinking_is_the_same_each_time_and_stops_when_its_budget_is_spent() -> None:
    build = by_name("request-id-table-dropped")
    schedule = Schedule(0, build)
    assert schedule.violation() is not None
    found = [shrink(schedule.recording, build, turns=20_000) for _ in range(2)]
    assert found[0] is not None and found[1] is not None
    assert found[0].text() == found[1].text()
    assert len(found[0].recording.lines) < len(schedule.recording.lines) / 10
    barely = shrink(schedule.recording, build, turns=1)
    assert barely is not None and barely.plays == 1


def test_what_does_not_fail_is_not_shrunk() -> None:
    assert shrink(Recording("cluster A seed 1", (), 50)) is None
