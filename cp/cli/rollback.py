"""`raftmesh rollback` and `raftmesh plan`: what a write would change, before it is made.

A rollback forgets nothing: it writes new events that bring the selected resources back to what
they were, in one transaction, each under the condition that nobody changed it since.
"""

from __future__ import annotations

import argparse
from typing import Any

from cp.cli.apply import add_reason_flag, decode_document, transact, variables
from cp.cli.client import Client
from cp.cli.common import add_connection_flags, client_of, guarded, kind_of, path_of
from cp.cli.documents import read
from cp.cli.errors import CommandError
from cp.cli.fielddiff import field_diff
from cp.cli.history import document_at
from mesh.codec import to_document
from mesh.registry import KINDS, Kind

PAGE_SIZE = 1_000


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("plan", help="what apply would change")
    parser.add_argument("-f", "--file", action="append", default=[], metavar="FILE")
    parser.add_argument("-v", "--var", action="append", default=[], metavar="NAME=VALUE")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_plan))
    parser = commands.add_parser("rollback", help="bring resources back to what they were")
    parser.add_argument("type", metavar="KIND")
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="(default: all of the kind)")
    parser.add_argument("--to", required=True, metavar="INDEX", help="the log index to go back to")
    parser.add_argument("-m", "--mesh", default="default")
    parser.add_argument("--yes", action="store_true", help="do it, instead of only showing it")
    add_reason_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_rollback))


def handle_plan(args: argparse.Namespace) -> int:
    client = client_of(args)
    for n, document in enumerate(read(args.file or ["-"], variables(args.var))):
        resource = decode_document(n, document)
        kind = KINDS[resource.kind]
        before = document_at(client, kind, resource.mesh, resource.name, "")
        after = to_document(resource)
        if before is not None and not after.get("labels"):
            before.pop("labels", None)  # those that the control plane computes
        _show(kind, resource.name, before, after)
    return 0


def handle_rollback(args: argparse.Namespace) -> int:
    kind, client = kind_of(args.type), client_of(args)
    now, then = (_documents(client, kind, args, at) for at in ("", args.to))
    if args.name and not now and not then:
        raise CommandError(f'there was no {kind.name} with name "{args.name}" then, and there is none now')
    changed = [name for name in sorted({*now, *then}) if field_diff(now.get(name), then.get(name))]
    for name in changed:
        _show(kind, name, now.get(name), then.get(name))
    if not changed:
        print(f"nothing to do: it is as it was at {args.to}")
    elif not args.yes:
        print("nothing is written yet; repeat with --yes")
    else:
        args.reason = args.reason or f"rollback to {args.to}"
        done = transact(args, [_operation(client, kind, args.mesh, name, now, then) for name in changed])
        print(f"{len(done)} written back")
    return 0


def _documents(client: Client, kind: Kind, args: argparse.Namespace, at: str) -> dict[str, Any]:
    if args.name:
        one = document_at(client, kind, args.mesh, args.name, at)
        return {} if one is None else {args.name: one}
    found: dict[str, Any] = {}
    while True:
        params = {"size": str(PAGE_SIZE), "offset": str(len(found))} | ({"at": at} if at else {})
        page = client.call("GET", path_of(kind, args.mesh), params=params).body
        found |= {item["name"]: item for item in page["items"]}
        if not page.get("next"):
            return found


def _operation(
    client: Client, kind: Kind, mesh: str, name: str, now: dict[str, Any], then: dict[str, Any]
) -> dict[str, Any]:
    """One write, refused when the resource is no longer what the plan showed."""
    version = 0
    if name in now:
        answer = client.call("GET", path_of(kind, mesh, name))
        if answer.body != now[name]:
            raise CommandError(f'{kind.name} "{name}" was changed meanwhile; look at the plan again')
        version = int(answer.headers["ETag"].strip('"'))
    if name in then:
        return {"op": "put", "resource": then[name], "ifVersion": version}
    where = mesh if kind.scope == "mesh" else ""
    return {"op": "delete", "type": kind.name, "mesh": where, "name": name, "ifVersion": version}


def _show(kind: Kind, name: str, before: Any, after: Any) -> None:
    lines = field_diff(before, after)
    verb = "create" if before is None else "delete" if after is None else "update" if lines else "keep"
    print(f'{verb} {kind.name} "{name}"')
    for line in lines if verb == "update" else []:
        print(f"    {line}")
