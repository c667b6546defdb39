"""`raftmesh lint`: check documents by the control plane's own rules, without a control plane.

Exit status 0 when all are valid, 1 otherwise; with `--strict` warnings count as faults. What
only the stored state can tell (whether a mesh exists, say) is left to the server.
"""

from __future__ import annotations

import argparse
import sys

from cp.cli.common import guarded
from cp.cli.documents import add_document_flags, decode_document, read, variables
from cp.cli.errors import CommandError
from mesh.resource import Resource
from mesh.validate import validate, warnings


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("lint", help="check documents without a control plane")
    add_document_flags(parser)
    parser.add_argument("--strict", action="store_true", help="fail for warnings, too")
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    """All faults of all documents, each under its document."""
    failed = warned = 0
    documents = read(args.file or ["-"], variables(args.var))
    for n, document in enumerate(documents):
        try:
            faults, said = _check(decode_document(n, document), n)
        except CommandError as error:
            faults, said = [str(error)], []
        for fault in faults:
            print(f"Error: {fault}", file=sys.stderr)
        for warning in said:
            print(f"Warning: resource[{n}]: {warning}", file=sys.stderr)
        failed += bool(faults)
        warned += bool(said)
    print(f"{len(documents)} checked, {failed} invalid, {warned} with warnings")
    return 1 if failed or (args.strict and warned) else 0


def _check(resource: Resource, position: int) -> tuple[list[str], list[str]]:
    lines = "".join(f"\n* {fault.field}: {fault.reason}" for fault in validate(resource))
    title = f'resource[{position}]: {resource.kind} "{resource.name}" is not valid'
    return ([title + lines] if lines else []), list(warnings(resource))
