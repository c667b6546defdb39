"""`raftmesh history` and `raftmesh diff`: who changed a resource, when, why, and what.

The history is the audit log. As text it is newest first, for a person; as JSON lines it is oldest first,
whole, and can be followed: `--follow` goes on where the export ends, over broken connections.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import orjson

from cp.cli.client import Client
from cp.cli.common import add_connection_flags, client_of, control_plane_of, guarded, kind_of, path_of, render
from cp.cli.errors import CommandError
from cp.cli.fielddiff import field_diff
from cp.cli.following import Follower
from cp.cli.terminal import coloured
from cp.fielddiff import of_document, without_secrets
from mesh.registry import Kind

MOMENT = "INDEX|TIME"
OLDEST_HEADER = "X-Raftmesh-Oldest-Index"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("history", help="who changed what, when, why: the audit log")
    add = parser.add_argument
    add("type", metavar="KIND", nargs="?", default="")
    add("name", metavar="NAME", nargs="?", default="")
    add("-m", "--mesh", default="", help="(default: default, for one resource; else all)")
    add("--all", action="store_true", help="of everything, instead of one KIND or resource")
    add("-o", "--output", choices=("text", "json", "jsonl"), default="text")
    add("--since", default="", metavar=MOMENT, help="only what is later")
    add("--at", "--until", dest="at", default="", metavar=MOMENT, help="as it was known then")
    add("--actor", default="", help="only what this user wrote")
    add("--follow", action="store_true", help="go on with what happens; ends with an interrupt")
    add("--count", type=int, default=0, metavar="N", help="end after so many events")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_history))
    parser = commands.add_parser("diff", help="what changed in a resource between two moments")
    parser.add_argument("type", metavar="KIND")
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("-m", "--mesh", default="default")
    parser.add_argument("--from", "--at", dest="since", required=True, metavar=MOMENT)
    parser.add_argument("--to", default="", metavar=MOMENT, help="(default: now)")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle_diff))


def handle_history(args: argparse.Namespace) -> int:
    """Newest first as text or JSON; oldest first as lines and when followed."""
    params = _filters(args) | {"include": "changes"}
    if args.at:
        params["at"] = args.at
    if args.follow:
        if args.at or args.output == "json":
            raise CommandError("--follow goes with neither --at nor -o json")
        asyncio.run(_follow(args, params))
        return 0
    if args.output == "jsonl":
        return _export(args, params)
    events = list(_newest_first(client_of(args), params, args.count))
    if not events and args.name:
        raise CommandError(f'no change of {params["type"]} "{args.name}" is kept')
    sys.stdout.write(render(events, "json") if args.output == "json" else "".join(map(text_of, events)))
    return 0


def _filters(args: argparse.Namespace) -> dict[str, str]:
    if bool(args.type) == args.all:
        raise CommandError("name a KIND, or --all for the history of everything")
    found: dict[str, str] = {}
    if args.type:
        kind = kind_of(args.type)
        found["type"] = kind.name
        if kind.scope == "mesh" and (args.mesh or args.name):
            found["mesh"] = args.mesh or "default"
    elif args.mesh:
        found["mesh"] = args.mesh
    given = {"name": args.name, "since": args.since, "actor": args.actor}
    return found | {name: value for name, value in given.items() if value}


def _newest_first(client: Client, params: dict[str, str], count: int) -> Iterator[dict[str, Any]]:
    told = 0
    until: dict[str, str] = {}
    while True:
        page = client.call("GET", "/history", params=params | until).body
        for event in page["items"]:
            yield event
            told += 1
            if told == count:
                return
        if not page.get("next"):
            return
        until = {"until": str(page["items"][-1]["index"] - 1)}


def text_of(event: dict[str, Any]) -> str:
    """One event for a person; which resource is told where the list is of many."""
    who = event["actor"] or "the control plane"
    what = f'{event["op"]} {event["type"]} "{event["name"]}"'
    what += f' in mesh "{event["mesh"]}"' if event["mesh"] else ""
    lines = [f"{event['index']}  {event['time']}  {what} by {who} via {event['via'] or '-'}"]
    lines.append(f"    request {event['requestId']}" + (f": {event['reason']}" if event["reason"] else ""))
    changes = [f"    {of_document(change)}" for change in event.get("changes") or ()]
    return "\n".join([*lines, *map(coloured, changes)]) + "\n"


def _export(args: argparse.Namespace, params: dict[str, str]) -> int:
    answer = client_of(args).call("GET", "/history", params=params | {"format": "jsonl"})
    # A single line of JSON is decoded on the way
    text = answer.body if isinstance(answer.body, str) else orjson.dumps(answer.body).decode() + "\n"
    lines = text.splitlines(keepends=True)
    sys.stdout.write("".join(lines[: args.count or None]))
    oldest = answer.headers.get(OLDEST_HEADER, "0")
    if not args.since and oldest != "0":
        print(f"Warning: what was before index {oldest} is no longer kept", file=sys.stderr)
    return 0


async def _follow(args: argparse.Namespace, params: dict[str, str]) -> None:
    told = 0
    async for message in Follower(control_plane_of(args), "/history", params).messages():
        for event in orjson.loads(message.data)["events"]:
            event["resource"] = without_secrets(event.get("resource"))
            text = text_of(event) if args.output == "text" else orjson.dumps(event).decode() + "\n"
            sys.stdout.write(text)
            sys.stdout.flush()
            told += 1
            if told == args.count:
                return


def handle_diff(args: argparse.Namespace) -> int:
    kind, client = kind_of(args.type), client_of(args)
    before = document_at(client, kind, args.mesh, args.name, args.since)
    after = document_at(client, kind, args.mesh, args.name, args.to)
    if before is None and after is None:
        raise CommandError(f'there was no {kind.name} with name "{args.name}" then, and there is none now')
    sys.stdout.write("".join(f"{coloured(line)}\n" for line in field_diff(before, after)))
    return 0


def document_at(client: Client, kind: Kind, mesh: str, name: str, at: str) -> Any:
    """The resource as it was at an index or time ("": now), or None."""
    params = {"at": at} if at else {}
    answer = client.call("GET", path_of(kind, mesh, name), params=params, missing_ok=True)
    return None if answer.status == 404 else answer.body
