"""What the documents name exists: files, tests, commands, judges, faults, validators and errors.

A promise whose test was renamed is a promise that nobody checks, and a reader cannot tell.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from chaos import container_faults, faults, linearizability
from chaos.sim import invariants
from chaos.sim.broken import BROKEN
from chaos.sim.directed import SCENARIOS
from chaos.wrong_servers import WRONG
from raftstore import guarantees

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")], key=str)
FOLDERS = (
    "bench",
    "chaos",
    "compose",
    "cp",
    "docs",
    "dp",
    "kds",
    "mesh",
    "raftstore",
    "scripts",
    "tests",
    "xds",
)
# The promises of the log, in the words of docs/design.md's model: each must be a row of the table.
PROMISES = {
    *("Durable", "Linearizable", "ExactlyOnce", "ReadYourWrites", "Convergent", "Fenced"),
    *("Ordered", "Unique", "Atomic", "Reliable", "Resumable", "Bookmarkable"),
}
GUARANTEES, FAULTS = ROOT / "docs" / "guarantees.md", ROOT / "docs" / "faults.md"


def quoted(document: Path) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`\n]+)`", document.read_text())


def is_path(name: str) -> bool:
    """Of this repository, without a word in capitals that stands for another."""
    inside = name.split("/")[0] in FOLDERS and re.fullmatch(r"[\w./-]+/[\w./-]*", name)
    return bool(inside) and not re.search(r"\b[A-Z]{3,}\b", name.removesuffix("README.md"))


@cache
def function_files() -> dict[str, list[str]]:
    """Test function -> the files that define it."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    return found


def rows(document: Path, heading: str) -> dict[str, str]:
    """First cell -> the whole line, of the table whose first line holds `heading`."""
    lines = iter(document.read_text().splitlines())
    for line in lines:
        if line.startswith("|") and heading in line:
            break
    next(lines)
    found = {}
    for line in lines:
        if not line.startswith("|"):
            break
        found[line.split("|")[1].strip()] = line
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_tests_that_a_document_names_exist(document: Path) -> None:
    missing = []
    for name in quoted(document):
        if re.fullmatch(r"test_\w+", name):
            if name not in function_files():
                missing.append(name)
        elif name.startswith("scenarios/") or re.fullmatch(r"\w+\.txt", name):
            if not list((ROOT / "tests" / "raft" / "scenarios").rglob(name.removeprefix("scenarios/"))):
                missing.append(name)
        elif is_path(name) and not ((ROOT / name).exists() or (ROOT / f"{name}.py").exists()):
            missing.append(name)
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", document.read_text())
    dead = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert dead == []


def test_every_promise_has_its_validator_its_error_and_who_tries_to_break_it() -> None:
    table = rows(GUARANTEES, "| validator |")
    assert set(table) == PROMISES
    validators = {name for name in vars(guarantees) if name.startswith("check_")}
    errors = {name for module in (guarantees, invariants, linearizability) for name in vars(module)}
    for promise, row in table.items():
        *_, validator, error, _ = row.split("|")
        named = set(re.findall(r"`(check_\w+)`", validator))
        assert named <= validators, promise
        assert named or "chaos/" in validator, promise
        assert set(re.findall(r"`(\w+)`", error)) <= errors, promise
        assert promise in error, promise
    broken = rows(GUARANTEES, "broken on purpose")
    assert {name for names in broken for name in names.split(", ")} == PROMISES
    for names, row in broken.items():
        assert re.search(r"`(test_\w+|scenarios/\w+\.txt)`", row), names


def test_every_error_of_a_validator_is_a_promise_that_is_written_down() -> None:
    """A promise of the code that no document tells is one that nobody can rely on."""
    assert set(guarantees.PROMISES) | {"Linearizable"} == PROMISES


def test_what_is_broken_on_purpose_is_what_the_judges_know() -> None:
    known = {build.name for build in BROKEN} | {wrong.name for wrong in WRONG}
    named = {
        name
        for row in rows(GUARANTEES, "broken on purpose").values()
        for name in re.findall(r"`([^`]+)`", row.split("|")[-2])
    }
    assert len(named) > 12 and named <= known


def test_directed_schedules_that_are_named_exist() -> None:
    text = GUARANTEES.read_text() + FAULTS.read_text()
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)` in `chaos/sim/directed.py`", text))
    assert named and named <= set(SCENARIOS)


def test_every_fault_of_the_rigs_has_its_row() -> None:
    known = {fault.name for fault in (*faults.FAULTS, *container_faults.FAULTS)}
    text = FAULTS.read_text()
    told = {name for row in rows(FAULTS, "| fault |") for name in re.findall(r"`([a-z-]+)`", row)}
    assert told == known
    asked = re.findall(r'FAULT="?([a-z -]*[a-z])', text + GUARANTEES.read_text())
    assert {name for names in asked for name in names.split()} - {"name"} <= known


def test_make_targets_that_a_document_names_exist() -> None:
    known = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"`make ([\w-]+)", document.read_text()))
        assert named <= known, document
