"""What is said of wrong arguments: one line, in kumactl's words, and exit status 2."""

from __future__ import annotations

import pytest

from cp.cli import main
from cp.cli.parsing import said

HELP = "Run '{} --help' for usage.\n"


@pytest.mark.parametrize(
    ("arguments", "message", "command"),
    [
        (["gett", "x"], 'unknown command "gett" for "raftmesh"; did you mean get?', "raftmesh"),
        (["xyzzy"], 'unknown command "xyzzy" for "raftmesh"', "raftmesh"),
        (["get", "meshes", "--nope=1"], "unknown flag: --nope", "raftmesh get"),
        (["get", "mesh", "a", "b"], "unexpected argument: b", "raftmesh get"),
        (["get"], "the following arguments are required: TYPE", "raftmesh get"),
        (
            ["config", "control"],
            'unknown command "control" for "raftmesh config"; did you mean control-planes?',
            "raftmesh config",
        ),
    ],
)
def test_a_wrong_argument_is_one_error_and_a_remedy(
    arguments: list[str], message: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"Error: {message}\n{HELP.format(command)}")


@pytest.mark.parametrize("known", ["'get', 'delete'", "get, delete"])
def test_choices_are_read_as_any_python_writes_them(known: str) -> None:
    message = f"argument COMMAND: invalid choice: 'delte' (choose from {known})"
    assert said(message, "raftmesh") == 'unknown command "delte" for "raftmesh"; did you mean delete?'


def test_other_messages_stay() -> None:
    message = "argument -o/--output: invalid choice: 'xml' (choose from 'table', 'yaml')"
    assert said(message, "raftmesh get") == message
