"""`raftmesh rollback`: bring resources back to what they were at an index or time.

A rollback forgets nothing: it writes new events, in one transaction, each on the condition that the
resource is still what the plan showed. What changed since is known from the history, so it costs what
changed. A wide selection (`--mesh`, `-l`, `--all`) leaves alone what no person wrote or what must not be
undone by accident: proxies, insights, and secrets with their keys; name the KIND to mean those.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from cp.cli.apply import add_reason_flag, transact
from cp.cli.client import INDEX_HEADER, Client
from cp.cli.common import add_connection_flags, client_of, guarded, kind_of, path_of
from cp.cli.errors import CommandError
from cp.cli.plan import dry_run, show
from cp.cli.prune import add_selector_flag, has_labels, labels_of
from cp.limits import TRANSACTION_DOCUMENTS_MAX
from mesh.registry import KINDS, Kind
from mesh.resource import ResourceKey

Document = Mapping[str, Any] | None
_NOT_BY_ACCIDENT = ("Dataplane", "ZoneIngress", "ZoneEgress", "Secret", "GlobalSecret")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("rollback", help="bring resources back to what they were")
    parser.add_argument("type", metavar="KIND", nargs="?", default="")
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="(default: all of the kind)")
    parser.add_argument("--to", required=True, metavar="INDEX|TIME", help="the moment to go back to")
    parser.add_argument("-m", "--mesh", default="", help="without KIND: everything in it, and the Mesh")
    add_selector_flag(parser)
    parser.add_argument("--all", action="store_true", help="everything, in all meshes")
    add_confirmation_flag(parser)
    add_reason_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def add_confirmation_flag(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it, without asking")


def confirmed(args: argparse.Namespace) -> bool:
    """Whether to go on: asked where a person can answer, else what --yes says."""
    if args.yes:
        return True
    if sys.stdin.isatty() and sys.stdout.isatty():
        return input("Write this? [y/N] ").strip().lower() in ("y", "yes")
    print("nothing is written yet; repeat with --yes")
    return False


def handle(args: argparse.Namespace) -> int:
    if not (args.type or args.mesh or args.selector or args.all):
        raise CommandError("name what to roll back: a KIND, --mesh, -l label=value, or --all")
    client = client_of(args)
    index, changed = _changed_since(client, args)
    if len(changed) > TRANSACTION_DOCUMENTS_MAX:
        reason = (
            f"{len(changed)} resources changed since; at most {TRANSACTION_DOCUMENTS_MAX} can go back at once"
        )
        raise CommandError(f"{reason}: select fewer")
    labels = labels_of(args.selector)
    found = [_operation(client, key, index, labels) for key in changed]
    operations = sorted((each for each in found if each is not None), key=_order)
    if not operations:
        print(f"nothing to do: it is as it was at {args.to}")
        return 0
    show(dry_run(client, operations))
    if confirmed(args):
        done = transact(client, operations, args.reason or f"rollback to {args.to}")
        print(f"{len(done)} written back")
    return 0


def _changed_since(client: Client, args: argparse.Namespace) -> tuple[int, list[ResourceKey]]:
    """(the index to go back to, the keys of the selection that were written since)."""
    kind = kind_of(args.type) if args.type else None
    first = client.call("GET", "/history", params={"at": args.to, "size": "1"})
    index = int(first.headers[INDEX_HEADER])
    params = {"since": str(index), "size": "1000", "consistency": "linearizable"}
    params |= {"type": kind.name} if kind else {}
    params |= {"name": args.name} if args.name else {}
    mesh = args.mesh or ("default" if kind and kind.scope == "mesh" else "")
    params |= {"mesh": mesh} if mesh and (kind is None or kind.scope == "mesh") else {}
    keys: dict[ResourceKey, None] = {}
    until: dict[str, str] = {}
    while True:
        page = client.call("GET", "/history", params=params | until).body
        keys |= {ResourceKey(each["type"], each["mesh"], each["name"]): None for each in page["items"]}
        if not page.get("next"):
            break
        until = {"until": str(page["items"][-1]["index"] - 1)}
    wanted = [key for key in keys if _is_meant(KINDS.get(key.kind), named=kind is not None)]
    if kind is not None and args.name and not wanted and not _exists(client, kind, mesh, args.name):
        raise CommandError(f'there was no {kind.name} with name "{args.name}" then, and there is none now')
    return index, wanted


def _is_meant(kind: Kind | None, *, named: bool) -> bool:
    if kind is None or kind.read_only or not kind.path:
        return False
    return named or kind.name not in _NOT_BY_ACCIDENT


def _exists(client: Client, kind: Kind, mesh: str, name: str) -> bool:
    return client.call("GET", path_of(kind, mesh, name), missing_ok=True).status == 200


def _operation(
    client: Client, key: ResourceKey, index: int, labels: Mapping[str, str]
) -> dict[str, Any] | None:
    """One write that brings back what was there; None when that is what is there, or not selected."""
    path = path_of(KINDS[key.kind], key.mesh, key.name)
    past = client.call("GET", path, params={"at": str(index)}, missing_ok=True)
    present = client.call("GET", path, missing_ok=True)
    then, now = (None if each.status == 404 else dict(each.body) for each in (past, present))
    if _content(then) == _content(now) or not (_selected(then, labels) or _selected(now, labels)):
        return None
    version = int(present.headers["ETag"].strip('"')) if now is not None else 0
    if then is not None:
        return {"op": "put", "resource": then, "ifVersion": version}
    return {"op": "delete", "type": key.kind, "mesh": key.mesh, "name": key.name, "ifVersion": version}


def _selected(document: Document, labels: Mapping[str, str]) -> bool:
    return document is not None and has_labels(document, labels)


_CHANGES_WITH_EACH_WRITE = ("creationTime", "modificationTime", "status")


def _content(document: Document) -> Document:
    if document is None:
        return None
    return {name: value for name, value in document.items() if name not in _CHANGES_WITH_EACH_WRITE}


def _order(operation: dict[str, Any]) -> int:
    """Meshes first where they come back, last where they go."""
    put = operation["op"] == "put"
    is_mesh = (operation["resource"] if put else operation)["type"] == "Mesh"
    return (0 if is_mesh else 1) if put else (3 if is_mesh else 2)
