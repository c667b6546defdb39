"""Places that schedules come to are counted, told, and missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.sim.__main__ import main
from chaos.sim.coverage import Coverage, Reached, missing, table
from chaos.sim.recording import Played, Recording

STALLED = """
cluster A B C seed 3
run 1
slow A
submit w1 r0 A
run 4
settle
"""


def test_each_place_has_a_line_and_those_never_reached_are_named() -> None:
    reached = Coverage({Reached.TAIL_CUT: 3})
    assert f"{3:8}  a conflicting tail is cut" in table(reached)
    assert len(table(reached)) == len(Reached)
    assert set(missing(reached)) == set(Reached) - {Reached.TAIL_CUT}


def test_what_a_script_comes_to_is_counted() -> None:
    played = Played(Recording.parse(STALLED))
    assert played.violation() is None
    assert played.cluster.reached[Reached.STALLED_STEPS_DOWN] == 1
    assert played.cluster.reached[Reached.MESSAGES_WAIT] > 0
    assert played.cluster.reached[Reached.SET_ASIDE] == 0


def test_the_counts_are_told_when_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert (
        main(["--seeds", "1", "--first-seed", "4", "--jobs", "1", "--stats", "--found", str(tmp_path)]) == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.endswith(tuple(Reached)) for line in lines) == len(Reached)
    assert lines[-1].startswith("simulation: 1 schedules, ")
