"""`raftmesh completion bash|zsh|fish`: a script that completes commands and kinds."""

from __future__ import annotations

import argparse
import sys

from mesh.registry import KINDS

_WITH_KIND = ("get", "delete", "history", "diff", "rollback", "watch")
_BASH = """_raftmesh() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "{commands}" -- "$word"))
  elif [ "$COMP_CWORD" -eq 2 ]; then case "${{COMP_WORDS[1]}}" in
    {with_kind}) COMPREPLY=($(compgen -W "{kinds}" -- "$word"));; esac
  fi
}}
complete -o default -F _raftmesh raftmesh
"""
_FISH = """complete -c raftmesh -n __fish_use_subcommand -a "{commands}"
complete -c raftmesh -n "__fish_seen_subcommand_from {seen}" -a "{kinds}"
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("completion", help="print a script for the shell, to be sourced")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    from cp.cli import COMMANDS  # the table of all commands imports nothing, but names this module

    words = {
        "commands": " ".join(name for name, _ in COMMANDS),
        "kinds": " ".join(sorted(kind.name.lower() for kind in KINDS.values() if kind.path)),
        "with_kind": "|".join(_WITH_KIND),
        "seen": " ".join(_WITH_KIND),
    }
    text = (_FISH if args.shell == "fish" else _BASH).format(**words)
    if args.shell == "zsh":
        text = "autoload -U +X bashcompinit && bashcompinit\n" + text
    sys.stdout.write(text)
    return 0
