"""`raftmesh version`: of this command, and of the control plane that it talks to.

The first two lines are kumactl's, for scripts that read them: whose language is spoken. Ours follow.
"""

from __future__ import annotations

import argparse
import platform
import sys

from cp.cli.common import add_connection_flags, client_of, guarded
from cp.cli.errors import CommandError
from cp.version import BASED_ON_KUMA, PRODUCT, version


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `version`."""
    parser = commands.add_parser("version", help="print the versions of this command and the control plane")
    parser.add_argument("-a", "--detailed", action="store_true", help="what it runs on, too")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    """Also without a control plane: then only ours is known."""
    print(f"Client: {PRODUCT} {BASED_ON_KUMA}")
    ours = [f"client {version()}"]
    try:
        body = client_of(args).call("GET", "/").body
        there = body if isinstance(body, dict) else {}
        print(f"Server: {there.get('product', '')} {there.get('version', '')}")
        ours.append(f"server {(there.get('raftmesh') or {}).get('version', 'none')}")
        _compare(str(there.get("version", "")))
    except CommandError as error:
        print(f"Unable to connect to control plane: {error}", file=sys.stderr)
    print(f"raftmesh: {', '.join(ours)}")
    if args.detailed:
        print(f"Python: {platform.python_version()}")
        print(f"Platform: {platform.system()} {platform.machine()}")
    return 0


def _compare(there: str) -> None:
    """kumactl's warning: a minor more or less may know other kinds."""
    minor = there.rpartition(".")[0]
    if minor != BASED_ON_KUMA.rpartition(".")[0]:
        told = (
            f"You are using raftmesh version {BASED_ON_KUMA} for {PRODUCT}, but the server returned version:"
        )
        print(f"WARNING: {told} {there}", file=sys.stderr)
