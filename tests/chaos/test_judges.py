"""The rigs are judged: they must catch each wrong server and build, and find the right ones right.

`make judges` runs them all; here are those that take no time.
"""

from __future__ import annotations

import pytest

from chaos.judges import WRITES_ENOUGH, main, of_server
from chaos.sim.broken import BROKEN
from chaos.wrong_servers import RIGHT, WRONG, Wrong

# What the broken builds and servers are called in the description of the rigs.
NAMED = {
    "guard-off",
    "acknowledge-before-fsync",
    "leader-counts-what-is-not-on-disk",
    "vote-not-durable",
    "no-term-in-acknowledgements",
    "request-id-table-dropped",
    "resume-by-head-only",
    "watch-skips-on-overload",
    "stale-read-served-as-linearizable",
}


async def test_a_right_control_plane_is_found_right() -> None:
    history, violations = await of_server(RIGHT)
    assert violations == []
    assert len(history.acked) >= WRITES_ENOUGH and history.unknown == 0
    assert len(history.reads) > 20 and history.watched > WRITES_ENOUGH
    assert any(not each.is_write for each in history.operations)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
async def test_a_wrong_one_is_caught_by_the_promise_that_it_breaks(wrong: Wrong) -> None:
    _, violations = await of_server(wrong)
    assert wrong.breaks in {type(violation).__name__ for violation in violations}


def test_all_that_were_asked_for_are_there() -> None:
    assert {build.name for build in BROKEN} >= NAMED


def test_judges_end_with_one_line_that_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0", "vote-not-durable", "resume-by-head-only", "watch-skips-on-overload"]) == 0
    assert capsys.readouterr().out.strip().splitlines()[-1] == "judges: caught 3 of 3"


def test_a_judge_that_finds_nothing_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "0", "no-such-judge"]) == 2
    assert "no judge 'no-such-judge'; there are guard-off, " in capsys.readouterr().err
