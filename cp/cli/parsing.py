"""How arguments are read, and what is said of wrong ones: one `Error: …` and where the usage is, as kumactl does.

argparse prints the whole usage above its message, which hides the message; the words here are those of
kumactl's parser (cobra), so that a script that looks for them finds them. The exit status is argparse's 2.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from typing import NoReturn

_CHOICE = re.compile(
    r"argument (?P<what>[A-Z]+): invalid choice: '(?P<given>.*?)' \(choose from (?P<known>.*)\)"
)
_GROUPS = ("COMMAND", "ACTION", "VERB", "WHAT")  # the metavars of sub-commands


class Parser(argparse.ArgumentParser):
    """Of one command; those of its sub-commands are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end the process with status 2."""
        complain(said(message, self.prog), self.prog)


def said(message: str, command: str) -> str:
    """argparse's message of a wrong argument of `command`, in kumactl's words."""
    choice = _CHOICE.match(message)
    if choice is None or choice["what"] not in _GROUPS:
        return message
    given, known = choice["given"], re.findall(r"[\w-]+", choice["known"])
    text = f'unknown command "{given}" for "{command}"'
    near = difflib.get_close_matches(given, known, n=3)
    return text + (f"; did you mean {' or '.join(near)}?" if near else "")


def unknown(arguments: list[str]) -> str:
    """What is said of arguments that no flag or place takes."""
    first = arguments[0].partition("=")[0]
    return f"unknown flag: {first}" if first.startswith("-") else f"unexpected argument: {first}"


def complain(message: str, command: str) -> NoReturn:
    """One line of error, one of remedy; the process ends with status 2."""
    print(f"Error: {message}\nRun '{command} --help' for usage.", file=sys.stderr)
    sys.exit(2)
