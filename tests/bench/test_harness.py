"""The benchmarks' report: one line a figure, and the same as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import harness
from bench.__main__ import names
from bench.harness import Report, fdatasync_s, percentile, round_trip_s


def test_a_figure_is_one_line_with_its_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("x")
    report.figure("writes", 5200.4, "1/s", 2889.1, "fdatasyncs per second")
    report.figure("sync", 0.31234, "ms")
    assert capsys.readouterr().out.splitlines() == [
        "writes: 5200 1/s, 1.8 x of fdatasyncs per second",
        "sync: 0.312 ms",
    ]


def test_all_figures_are_saved(tmp_path: Path) -> None:
    report = Report("x", results=tmp_path)
    report.figure("writes", 10.0, "1/s", 4.0, "theirs")
    report.note("the machine was busy")
    saved = json.loads(report.save().read_text())
    assert saved["figures"] == [
        {"name": "writes", "value": 10.0, "unit": "1/s", "ratio": 2.5, "of": "theirs"}
    ]
    assert saved["notes"] == ["the machine was busy"] and saved["machine"]["cpus"] >= 1


def test_percentiles() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile([7.0], 0.99)) == (51.0, 100.0, 7.0)


def test_the_yardsticks_measure_something(tmp_path: Path) -> None:
    assert 0 < fdatasync_s(tmp_path, 200, 3) < 10
    assert 0 < round_trip_s(200, 3) < 10
    assert list(tmp_path.iterdir()) == []


def test_benchmarks_are_found_by_their_names() -> None:
    assert "writes" in names() and harness.RESULTS.name == "results"
