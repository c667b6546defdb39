"""`raftmesh`: one command, each subcommand in a file of its own.

A command module has `register(commands)`, which adds its parser and sets `handler`, a
function of the parsed arguments that returns the exit status. Only the module that is
asked for is imported, so `raftmesh version` does not wait for gRPC.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from cp.cli.parsing import Parser, complain, unknown

# name on the command line -> module; a new command is one line here
COMMANDS: tuple[tuple[str, str], ...] = (
    ("cp", "cp.cli.run"),
    ("dp", "cp.cli.dp"),
    ("cert", "cp.cli.cert"),
    ("cluster", "cp.cli.cluster"),
    ("log", "cp.cli.log"),
    ("backup", "cp.cli.backup"),
    ("restore", "cp.cli.backup"),
    ("up", "cp.cli.up"),
    ("apply", "cp.cli.apply"),
    ("delete", "cp.cli.apply"),
    ("get", "cp.cli.get"),
    ("export", "cp.cli.export"),
    ("migrate", "cp.cli.migrate"),
    ("history", "cp.cli.history"),
    ("diff", "cp.cli.history"),
    ("watch", "cp.cli.watch"),
    ("rollback", "cp.cli.rollback"),
    ("plan", "cp.cli.plan"),
    ("lint", "cp.cli.lint"),
    ("inspect", "cp.cli.inspect"),
    ("explain", "cp.cli.explain"),
    ("generate", "cp.cli.generate"),
    ("config", "cp.cli.config"),
    ("completion", "cp.cli.completion"),
    ("version", "cp.cli.version"),
)


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or of the one named `only`."""
    parser = Parser(prog="raftmesh", description="A service mesh that needs no database.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in dict.fromkeys(m for name, m in COMMANDS if only in (None, name)):
        importlib.import_module(module).register(commands)
    return parser


# kumactl takes these before the command, too; True where a value follows.
_GLOBAL_FLAGS = {
    "--config-file": True,
    "--context": True,
    "--log-level": True,
    "--api-timeout": True,
    "--cp-address": True,
    "--mesh": True,
    "-m": True,
    "--no-config": False,
}


def hoisted(arguments: Sequence[str]) -> list[str]:
    """Global flags that stand before the command, moved behind everything that follows it."""
    rest, moved = list(arguments), []
    while rest and rest[0].partition("=")[0] in _GLOBAL_FLAGS:
        flag = rest.pop(0)
        moved.append(flag)
        if "=" not in flag and _GLOBAL_FLAGS[flag] and rest:
            moved.append(rest.pop(0))
    return rest + moved


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status. Wrong arguments are told on stderr, status 2."""
    arguments = hoisted(sys.argv[1:] if argv is None else argv)
    known = {name for name, _ in COMMANDS}
    first = arguments[0] if arguments and arguments[0] in known else None
    parsed, left = build_parser(first).parse_known_args(arguments)
    if left:
        complain(unknown(left), f"raftmesh {parsed.command}")
    try:
        return int(parsed.handler(parsed) or 0)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `raftmesh get … | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
