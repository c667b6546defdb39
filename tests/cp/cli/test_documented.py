"""Every command line that README and docs show is read by the real parser, and every `make X` is a target.

A line of a code block has to be whole, unless it ends in `…`; a mention in the text may leave out what is
required. What stands in brackets is optional and is taken with all of it; a pipe or redirection ends a command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from cp.cli import COMMANDS, build_parser, hoisted

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")], key=str)
_INLINE = re.compile(r"`(?:[\w.\"$/=-]+=\S+ )*(raftmesh [^`]+)`")
_SUBSTITUTED = re.compile(r"^.*[<$]\((raftmesh [^)]+)\).*$")
_BLOCK = re.compile(r"^(?: {4,}|```.*)")
_ENDS = re.compile(r"\s(?:\||>>?|<|&&|\|\|)\s.*|;.*|\s#.*")
REQUIRED = "the following arguments are required"


def shown(document: Path) -> Iterator[tuple[str, bool]]:
    """(command line, whether it has to be whole) of a document, in order."""
    text = re.sub(r"\\\n\s*", "", document.read_text())
    is_fenced = False
    lines = text.splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        is_fenced ^= line.startswith("```")
        bare = _SUBSTITUTED.sub(r"\1", line.strip().removeprefix("$ "))
        if following.strip().startswith("Error: unknown command"):
            continue  # shown for its error
        if (is_fenced or _BLOCK.match(line)) and bare.startswith(("raftmesh ", ".venv/bin/raftmesh ")):
            command = _ENDS.sub("", bare.removeprefix(".venv/bin/")).rstrip()
            yield command, not command.endswith("…")
        else:
            yield from ((each.replace("\\|", "|"), False) for each in _INLINE.findall(line))


def arguments(command: str) -> list[str]:
    """What the shell would give to `raftmesh`, brackets taken away."""
    return shlex.split(_ENDS.sub("", command).replace("[", " ").replace("]", " "))[1:]


def fault(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the parser has against a command line, "" for nothing."""
    given = hoisted(arguments(command))
    if not given or given[0] not in {name for name, _ in COMMANDS}:
        return f"unknown command {given[:1]}"
    try:
        _, left = build_parser(given[0]).parse_known_args(given)
    except SystemExit as ended:
        return "" if ended.code == 0 else capsys.readouterr().err.splitlines()[0]
    left = [each for each in left if each != "…"]
    return f"unknown: {left}" if left else ""


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_command_lines_are_understood(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = {}
    for command, is_whole in shown(document):
        found = fault(command, capsys)
        if found and (is_whole or REQUIRED not in found):
            faults[command] = found
    assert faults == {}


def test_the_reader_finds_commands_and_the_faults_in_them(capsys: pytest.CaptureFixture[str]) -> None:
    lines = list(shown(ROOT / "docs" / "cli.md"))
    assert len(lines) > 40 and any(whole for _, whole in lines)
    assert arguments("raftmesh get [KIND [NAME]] -o yaml | head # x") == ["get", "KIND", "NAME", "-o", "yaml"]
    assert fault("raftmesh rollback --to 4 --forever", capsys) == "unknown: ['--forever']"
    assert fault("raftmesh rol", capsys) == "unknown command ['rol']"
    assert REQUIRED in fault("raftmesh rollback", capsys)


@pytest.mark.parametrize("command", [name for name, _ in COMMANDS])
def test_every_command_is_documented(command: str) -> None:
    told = {arguments(line)[0] for document in DOCUMENTS for line, _ in shown(document) if arguments(line)}
    assert command in told


def test_make_targets_in_code_blocks_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for document in DOCUMENTS:
        named = set(re.findall(r"^ {4,}(?:\$ )?make ([\w-]+)", document.read_text(), re.MULTILINE))
        assert named <= targets, document
