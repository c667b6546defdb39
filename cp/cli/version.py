"""`raftmesh version`."""

from __future__ import annotations

import argparse

from cp.version import BASED_ON_KUMA, version


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `version`."""
    parser = commands.add_parser("version", help="print the version")
    parser.set_defaults(handler=handle)


def handle(arguments: argparse.Namespace) -> int:
    print(f"raftmesh {version()} (language of Kuma {BASED_ON_KUMA})")
    return 0
