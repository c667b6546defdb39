"""`raftmesh apply` and `raftmesh delete`: write resources through whichever replica answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from cp.cli.common import add_connection_flags, client_of, guarded, kind_of, path_of, render
from cp.cli.documents import read
from cp.cli.errors import CommandError
from cp.limits import REASON_BYTES_MAX
from mesh.codec import decode, to_document
from mesh.errors import Invalid
from mesh.resource import Resource

REASON_HEADER = "X-Raftmesh-Reason"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("apply", help="create or update resources")
    parser.add_argument(
        "-f", "--file", action="append", default=[], metavar="FILE", help="a file, a directory or -"
    )
    parser.add_argument(
        "-v", "--var", action="append", default=[], metavar="NAME=VALUE", help="for {{ NAME }} in it"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resources instead of writing them")
    add_reason_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_apply))

    parser = commands.add_parser("delete", help="delete a resource")
    parser.add_argument("type", metavar="TYPE")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("-m", "--mesh", default="default")
    add_reason_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_delete))


def handle_apply(args: argparse.Namespace) -> int:
    """All documents are one transaction, so that a fault in one changes nothing."""
    resources = [
        decode_document(n, document)
        for n, document in enumerate(read(args.file or ["-"], variables(args.var)))
    ]
    if args.dry_run:
        sys.stdout.write("---\n".join(render(to_document(resource), "yaml") for resource in resources))
        return 0
    operations = [{"op": "put", "resource": to_document(resource)} for resource in resources]
    for result in transact(args, operations):
        for warning in result.get("warnings") or []:
            print(f"Warning: {warning}", file=sys.stderr)
        done = str(result["outcome"]).capitalize()
        print(f'resource type="{result["type"]}" mesh="{result["mesh"]}" name="{result["name"]}" {done}')
    return 0


def transact(args: argparse.Namespace, operations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write all or none; what became of each."""
    answer = client_of(args).call(
        "POST", "/transactions", body={"operations": operations}, headers=reason_headers(args)
    )
    return list(answer.body["results"])


def add_reason_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", help="why; kept in the history")


def reason_headers(args: argparse.Namespace) -> dict[str, str]:
    """What --reason sends. Raises CommandError for what no header can carry."""
    if not args.reason:
        return {}
    if not args.reason.isprintable() or len(args.reason.encode(errors="replace")) > REASON_BYTES_MAX:
        raise CommandError(f"--reason: must be one line of at most {REASON_BYTES_MAX} bytes")
    return {REASON_HEADER: args.reason}


def handle_delete(args: argparse.Namespace) -> int:
    kind = kind_of(args.type)
    answer = client_of(args).call(
        "DELETE", path_of(kind, args.mesh, args.name), headers=reason_headers(args), missing_ok=True
    )
    if answer.status == 404:
        raise CommandError(f'there is no {kind.name} with name "{args.name}"')
    print(f'deleted {kind.name} "{args.name}"')
    return 0


def variables(pairs: list[str]) -> dict[str, str]:
    variables = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise CommandError(f"--var {pair!r}: must be name=value")
        variables[name] = value
    return variables


def decode_document(position: int, document: Mapping[str, Any]) -> Resource:
    try:
        return decode(document)
    except Invalid as invalid:
        reasons = "".join(f"\n* {error.field}: {error.reason}" for error in invalid.errors)
        raise CommandError(
            f"resource[{position}]: failed to parse resource: Resource is not valid{reasons}"
        ) from None
