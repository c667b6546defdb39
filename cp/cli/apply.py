"""`raftmesh apply` and `raftmesh delete`: write resources through whichever replica answers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from cp.cli.common import add_connection_flags, client_of, guarded, kind_of, path_of, render
from cp.cli.documents import read
from cp.cli.errors import CommandError
from mesh.codec import decode, to_document
from mesh.errors import Invalid
from mesh.registry import KINDS
from mesh.resource import Resource


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("apply", help="create or update resources")
    parser.add_argument(
        "-f", "--file", action="append", default=[], metavar="FILE", help="a file, a directory or -"
    )
    parser.add_argument(
        "-v", "--var", action="append", default=[], metavar="NAME=VALUE", help="for {{ NAME }} in it"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resources instead of writing them")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_apply))

    parser = commands.add_parser("delete", help="delete a resource")
    parser.add_argument("type", metavar="TYPE")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("-m", "--mesh", default="default")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_delete))


def handle_apply(args: argparse.Namespace) -> int:
    """Check every document before the first is written, so that a typo changes nothing."""
    resources = [
        _decode(n, document) for n, document in enumerate(read(args.file or ["-"], _variables(args.var)))
    ]
    if args.dry_run:
        sys.stdout.write("---\n".join(render(to_document(resource), "yaml") for resource in resources))
        return 0
    client = client_of(args)
    for resource in resources:
        path = path_of(KINDS[resource.kind], resource.mesh, resource.name)
        answer = client.call("PUT", path, body=to_document(resource))
        for warning in (answer.body or {}).get("warnings") or []:
            print(f"Warning: {warning}", file=sys.stderr)
        done = "Created" if answer.status == 201 else "Updated"
        print(f'resource type="{resource.kind}" mesh="{resource.mesh}" name="{resource.name}" {done}')
    return 0


def handle_delete(args: argparse.Namespace) -> int:
    kind = kind_of(args.type)
    answer = client_of(args).call("DELETE", path_of(kind, args.mesh, args.name), missing_ok=True)
    if answer.status == 404:
        raise CommandError(f'there is no {kind.name} with name "{args.name}"')
    print(f'deleted {kind.name} "{args.name}"')
    return 0


def _variables(pairs: list[str]) -> dict[str, str]:
    variables = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator or not name:
            raise CommandError(f"--var {pair!r}: must be name=value")
        variables[name] = value
    return variables


def _decode(position: int, document: Mapping[str, Any]) -> Resource:
    try:
        return decode(document)
    except Invalid as invalid:
        reasons = "".join(f"\n* {error.field}: {error.reason}" for error in invalid.errors)
        raise CommandError(
            f"resource[{position}]: failed to parse resource: Resource is not valid{reasons}"
        ) from None
