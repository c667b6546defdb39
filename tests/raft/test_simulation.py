"""Random schedules, a few here; `make sim` runs many. A failure names its seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.sim.__main__ import main
from chaos.sim.cluster import STEP_S
from chaos.sim.coverage import Coverage, Reached, missing
from chaos.sim.recording import Recording
from chaos.sim.schedule import Schedule

# What a dozen schedules need not come to; `make sim` insists on all of it.
SELDOM = {
    Reached.STALLED_STEPS_DOWN,
    Reached.FULL_STEPS_DOWN,
    Reached.LOST_AT_OVERWRITE,
    Reached.LOST_AT_WIPE,
    Reached.SNAPSHOT_FULL,
    Reached.SNAPSHOT_OVERTAKEN,
    Reached.SHIPPED_OBSERVER,
    Reached.SHIPPED_BY_DEPOSED,
    Reached.SHIPPED_LATE,
    Reached.SHIPPING_BROKEN,
    Reached.CHANGE_LOST,
    Reached.READMITTED,
    Reached.READMITTED_LATER,
    Reached.WATCH_COMPACTED,
}


def test_promises_hold_under_random_faults_which_reach_what_they_are_there_for() -> None:
    reached = Coverage()
    for seed in range(12):
        schedule = Schedule(seed)
        violation = schedule.violation()
        assert violation is None, (
            f"raftmesh-sim --seed {seed} --trace: {type(violation).__name__}: {violation}"
        )
        assert schedule.cluster.history.acknowledged
        assert all(watcher.items for watcher in schedule.cluster.watchers.values())
        reached.update(schedule.cluster.reached)
    assert set(missing(reached)) <= SELDOM


def test_a_seed_can_be_repeated_exactly_and_so_can_its_recording() -> None:
    traces = []
    for _ in range(2):
        schedule = Schedule(5, trace=True)
        schedule.run()
        traces.append(schedule.cluster.lines)
    assert traces[0] == traces[1]
    again: list[str] = []
    Recording.parse(schedule.recording.text("a comment")).play(trace=again)
    started = [line for line in traces[0] or () if line in again]
    assert started == traces[0]


def test_many_seeds_are_told_in_order_whatever_the_number_of_processes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    for jobs in ("1", "2"):
        assert main(["--seeds", "3", "--first-seed", "3", "--jobs", jobs]) == 0
        told.append(capsys.readouterr().out.strip().splitlines()[-1])
    assert told[0] == told[1]
    assert told[0].startswith("simulation: 3 schedules, ")
    assert told[0].endswith(" acknowledged writes, 0 violations")


def test_it_runs_for_as_long_as_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", "0.001", "--first-seed", "77", "--jobs", "1"]) == 0
    first, *_, last = capsys.readouterr().out.strip().splitlines()
    assert first == "seeds from 77 on, for 0.001 minutes"
    assert last.startswith("simulation: 1 schedules, ")


def test_one_seed_can_be_traced(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "3", "--trace"]) == 0
    assert ": leader of term 1, leader " in capsys.readouterr().out


def test_a_failing_seed_is_shrunk_to_a_script_that_can_be_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ["--build", "request-id-table-dropped"]
    assert main(["--seed", "0", "--found", str(tmp_path), *broken]) == 1
    script = tmp_path / "seed-0.txt"
    told = capsys.readouterr().out
    assert script.read_text() in told and told.strip().endswith(", 1 violations")
    assert main(["--script", str(script), *broken]) == 1
    assert main(["--script", str(script)]) == 0
    assert len(Recording.parse(script.read_text()).lines) <= 10


def test_what_cannot_be_played_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "script.txt"
    script.write_text("run 1\n")
    assert main(["--script", str(script)]) == 2
    assert "raftmesh-sim: the first command is: cluster A B C" in capsys.readouterr().err
    script.write_text("cluster A\ndance A\n")
    assert main(["--script", str(script)]) == 2
    script.write_text("cluster A\nfill A\n")
    assert main(["--script", str(script)]) == 2
    assert "'fill A': missing a required argument: 'room'" in capsys.readouterr().err
    assert main(["--script", str(tmp_path / "none")]) == 2


def test_a_recording_is_text_and_back() -> None:
    recording = Recording("cluster A B seed 3", ((0, "heal"), (12, "stop A torn"), (12, "heal")), 40)
    text = recording.text("why")
    assert text == "# why\ncluster A B seed 3\nheal\nrun 0.12\nstop A torn\nheal\nrun 0.28\n"
    assert Recording.parse(text) == recording and STEP_S == 0.01
