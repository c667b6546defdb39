"""The judge of the suites is judged: what it counts, and when it fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conformance.cases import SuiteScore, api_cases, legacy_kind
from tests.conformance.seam import zero_times


def score(known: Mapping[str, str]) -> SuiteScore:
    made = SuiteScore("suite")
    made._known = dict(known)
    return made


def test_a_failure_fails_unless_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    judged = score({"b": "why"})
    judged.judge("a", [])
    judged.judge("b", ["differs"])
    judged.skip("Retry")
    judged.finish()
    assert capsys.readouterr().out == "\nsuite: passed 1 of 2, known to fail: 1, out of scope: 1 of Retry\n"
    judged.judge("c", ["differs"])
    with pytest.raises(AssertionError, match="c\ndiffers"):
        judged.finish()


def test_a_known_failure_that_passes_has_to_be_taken_off() -> None:
    judged = score({"a": "why"})
    judged.judge("a", [])
    with pytest.raises(AssertionError, match="take it off"):
        judged.finish()


def test_a_suite_without_cases_fails() -> None:
    with pytest.raises(AssertionError, match="no case found"):
        score({}).finish()


def test_a_case_is_read_with_its_actions(tmp_path: Path) -> None:
    (tmp_path / "x.input.yaml").write_text("# why\n#/a 404\n#/b?c=d 201 method=PUT\ntype: Mesh\nname: m\n")
    for number, name in enumerate(("x_00.golden.json", "x_01.golden.json")):
        (tmp_path / name).write_text(f"{number}")
    (tmp_path / "x_01.request.json").write_text('{"type": "Retry"}')
    (case,) = api_cases(tmp_path)
    assert [(each.method, each.path, each.status, each.golden) for each in case.actions] == [
        ("GET", "/a", 404, 0),
        ("PUT", "/b?c=d", 201, 1),
    ]
    assert case.documents == [{"type": "Mesh", "name": "m"}]
    assert case.legacy == "Retry"


def test_legacy_kinds_are_found_in_paths_too() -> None:
    assert legacy_kind([], ["meshes", "m", "retries"]) == "Retry"
    assert legacy_kind([{"type": "Mesh"}], ["meshes"]) == ""


def test_only_times_are_zeroed() -> None:
    text = '"2024-02-08T14:47:50.69632Z" "2024-02-08" "x2024-02-08T14:47:50+01:00"'
    assert zero_times(text) == '"0001-01-01T00:00:00Z" "2024-02-08" "x0001-01-01T00:00:00Z"'
