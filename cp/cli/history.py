"""`raftmesh history` and `raftmesh diff`: who changed a resource, when, why, and what."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from cp.cli.client import Client
from cp.cli.common import add_connection_flags, client_of, guarded, kind_of, path_of, render
from cp.cli.errors import CommandError
from cp.cli.fielddiff import field_diff
from mesh.registry import Kind


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("history", help="who changed a resource, when, why, and what")
    _resource_arguments(parser)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.set_defaults(handler=guarded(handle_history))
    parser = commands.add_parser("diff", help="what changed in a resource between two indexes")
    _resource_arguments(parser)
    parser.add_argument("--from", dest="since", required=True, metavar="INDEX")
    parser.add_argument("--to", default="", metavar="INDEX", help="(default: now)")
    parser.set_defaults(handler=guarded(handle_diff))


def _resource_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("type", metavar="KIND")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("-m", "--mesh", default="default")
    add_connection_flags(parser)


def handle_history(args: argparse.Namespace) -> int:
    """Newest first. The oldest event that is kept is shown whole if what it replaced is forgotten."""
    kind = kind_of(args.type)
    query = {"type": kind.name, "name": args.name} | ({"mesh": args.mesh} if kind.scope == "mesh" else {})
    events = _all_events(client_of(args), query)
    if not events:
        raise CommandError(f'no change of {kind.name} "{args.name}" is kept')
    older = [*events[1:], {"resource": None}]
    for event, before in zip(events, older, strict=True):
        event["changes"] = field_diff(before.get("resource"), event.get("resource"))
    sys.stdout.write(render(events, "json") if args.output == "json" else "".join(map(_text, events)))
    return 0


def _all_events(client: Client, query: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    params = query
    while True:
        page = client.call("GET", "/history", params=params).body
        found += page["items"]
        if not page.get("next"):
            return found
        params = {**query, "until": str(found[-1]["index"] - 1)}


def _text(event: dict[str, Any]) -> str:
    who = event["actor"] or "the control plane"
    lines = [f"{event['index']}  {event['time']}  {event['op']} by {who} via {event['via'] or '-'}"]
    lines.append(f"    request {event['requestId']}" + (f": {event['reason']}" if event["reason"] else ""))
    return "\n".join([*lines, *(f"    {change}" for change in event["changes"])]) + "\n"


def handle_diff(args: argparse.Namespace) -> int:
    kind, client = kind_of(args.type), client_of(args)
    before = document_at(client, kind, args.mesh, args.name, args.since)
    after = document_at(client, kind, args.mesh, args.name, args.to)
    if before is None and after is None:
        raise CommandError(f'there was no {kind.name} with name "{args.name}" then, and there is none now')
    sys.stdout.write("".join(f"{line}\n" for line in field_diff(before, after)))
    return 0


def document_at(client: Client, kind: Kind, mesh: str, name: str, at: str) -> Any:
    """The resource as it was at an index ("": now), or None."""
    params = {"at": at} if at else {}
    answer = client.call("GET", path_of(kind, mesh, name), params=params, missing_ok=True)
    return None if answer.status == 404 else answer.body
