"""Writing only what is still as it was read: HTTP's preconditions (RFC 9110, 13.1) as flags.

    version=$(raftmesh get meshtimeout slow -o etag)
    raftmesh apply -f slow.yaml --if-match "$version"      refused when somebody else wrote in between
    raftmesh apply -f slow.yaml --if-none-match '*'        refused when it exists

The version of a resource is the index of the log at which it was written last, and its ETag.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from cp.cli.errors import CommandError

ABSENT = 0  # the version of what does not exist


def add_if_match(parser: argparse.ArgumentParser) -> None:
    """--if-match, for a command that writes or deletes one resource."""
    text = "only if this is still its version (get -o etag tells it)"
    parser.add_argument("--if-match", default="", metavar="VERSION", help=text)


def add_if_none_match(parser: argparse.ArgumentParser) -> None:
    """--if-none-match, for a command that may create a resource."""
    parser.add_argument("--if-none-match", default="", choices=("*",), help="only if it does not exist yet")


def expected(args: argparse.Namespace) -> Mapping[str, int]:
    """What an operation of a transaction carries: `{"ifVersion": n}`, or nothing. Raises CommandError."""
    if args.if_match and getattr(args, "if_none_match", ""):
        raise CommandError("--if-match and --if-none-match exclude each other")
    if getattr(args, "if_none_match", ""):
        return {"ifVersion": ABSENT}
    return {"ifVersion": version_of(args.if_match, "--if-match")} if args.if_match else {}


def version_of(text: str, flag: str) -> int:
    """A version as it is typed, or pasted from an ETag header. Raises CommandError."""
    bare = text.strip().removeprefix("W/").strip('"')
    if not bare.isdecimal() or int(bare) < 1:
        raise CommandError(f"{flag} {text!r}: must be a version such as 42, as get -o etag prints it")
    return int(bare)


def conditions(operations: list[dict[str, Any]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """The operations with what the flags demand, which can be true of one resource only."""
    wanted = expected(args)
    if wanted and len(operations) != 1:
        raise CommandError(f"--if-match and --if-none-match go with one document; here are {len(operations)}")
    return [{**operation, **wanted} for operation in operations]
