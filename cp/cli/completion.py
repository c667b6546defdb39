"""`raftmesh completion bash|zsh|fish`: a script that completes commands, kinds and flags.

The words come from the parser itself, so nothing can be forgotten: each command, with its sub-commands, is a
place, and each place has words (sub-commands, kinds, choices) and flags. The scripts find the place of the
cursor by the words before it. zsh runs the script of bash, which it brings a bridge for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mesh.registry import KINDS

_KIND_PLACES = ("TYPE", "KIND")  # metavars of arguments that take a kind
_BASH = """_raftmesh() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" place="" words="" flags="" i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$place ${{COMP_WORDS[i]}}" in
      {places}) place="$place ${{COMP_WORDS[i]}}";;
    esac
  done
  case "$place" in
{cases}
  esac
  case "$word" in -*) words="$flags";; esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _raftmesh raftmesh
"""
_ZSH = """(( $+functions[compdef] )) || { autoload -U compinit && compinit; }
autoload -U +X bashcompinit && bashcompinit
"""
_FISH = """function __raftmesh_at
  set -l place ""
  for word in (commandline -opc)[2..-1]
    contains -- "$place $word" {places}; and set place "$place $word"
  end
  test "$place" = "$argv[1]"
end
"""


class Place(NamedTuple):
    """What can follow the words of `path`, e.g. ("config", "control-planes")."""

    path: tuple[str, ...]
    words: tuple[str, ...]
    flags: tuple[str, ...]

    @property
    def key(self) -> str:
        """As the scripts hold it: each word with a space before it."""
        return "".join(f" {word}" for word in self.path)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("completion", help="print a script for the shell, to be sourced")
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace) -> int:
    from cp.cli import build_parser  # it imports this module

    found = list(places(build_parser()))
    script = fish(found) if args.shell == "fish" else bash(found)
    sys.stdout.write((_ZSH if args.shell == "zsh" else "") + script)
    return 0


def places(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Place]:
    """This parser's place, and those of its sub-commands."""
    below: Mapping[str, argparse.ArgumentParser] = {}
    words: list[str] = []
    for action in parser._get_positional_actions():
        if isinstance(action, argparse._SubParsersAction):
            below = action.choices
            words += below
        elif action.choices is not None:
            words += action.choices
        elif action.metavar in _KIND_PLACES:
            words += _kinds()
        elif action.metavar == "WHAT":
            words += _inspected()
    flags = [flag for action in parser._get_optional_actions() for flag in action.option_strings]
    yield Place(path, tuple(words), tuple(flags))
    for name, child in below.items():
        yield from places(child, (*path, name))


def _kinds() -> list[str]:
    return sorted({word for kind in KINDS.values() if kind.arg for word in (kind.arg, kind.path)})


def _inspected() -> list[str]:
    from cp.cli.inspect import inspectable

    return inspectable()


def bash(found: Sequence[Place]) -> str:
    """The script for bash, which zsh runs, too."""
    cases = "\n".join(
        f'    "{place.key}") words="{" ".join(place.words)}"; flags="{" ".join(place.flags)}";;'
        for place in found
    )
    return _BASH.format(places="|".join(f'"{place.key}"' for place in found if place.path), cases=cases)


def fish(found: Sequence[Place]) -> str:
    """The script for fish, which asks for each flag and for the words of each place."""
    text = _FISH.format(places=" ".join(f'"{place.key}"' for place in found if place.path))
    for place in found:
        begin = f"complete -c raftmesh -n '__raftmesh_at \"{place.key}\"'"
        if place.words:
            text += f'{begin} -f -a "{" ".join(place.words)}"\n'
        for flag in place.flags:
            text += f"{begin} {'-l' if flag.startswith('--') else '-s'} {flag.lstrip('-')}\n"
    return text
