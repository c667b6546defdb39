"""Random schedules, a few here; `make sim` runs many. A failure names its seed."""

from __future__ import annotations

import pytest

from chaos.sim.__main__ import main
from chaos.sim.schedule import Schedule


@pytest.mark.parametrize("seed", range(16))
def test_promises_hold_under_random_faults(seed: int) -> None:
    cluster = Schedule(seed).run()
    assert cluster.history.acknowledged


def test_a_seed_can_be_repeated_exactly() -> None:
    traces = []
    for _ in range(2):
        schedule = Schedule(5, trace=True)
        schedule.run()
        traces.append(schedule.cluster.lines)
    assert traces[0] == traces[1]


def test_seed_1176_late_read_answer_after_a_restart() -> None:
    """Found a follower that took the answer to a read of its earlier life for a fresh one."""
    Schedule(1176).run()


def test_the_command_ends_with_one_line_that_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--first-seed", "3"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("simulation: 2 schedules, ") and last.endswith(
        " acknowledged writes, 0 violations"
    )


def test_one_seed_can_be_traced(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3", "--trace"]) == 0
    assert ": leader of term 1, leader " in capsys.readouterr().out


def test_judges_end_with_one_line_that_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["judges", "--seeds", "0", "no-conflict-test", "vote-not-durable"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == "judges: caught 2 of 2"
