"""`raftmesh get`: resources as a table, YAML or JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from cp.cli.common import (
    OUTPUTS,
    add_at_flag,
    add_connection_flags,
    client_of,
    guarded,
    kind_of,
    path_of,
    render,
)
from cp.cli.errors import CommandError
from cp.cli.preconditions import version_of
from cp.cli.tables import age, table
from mesh.registry import Kind

NOT_MODIFIED = 304
Document = Mapping[str, Any]
Column = tuple[str, Callable[[Document], str]]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("get", help="show resources")
    parser.add_argument("type", metavar="TYPE", help="a kind, e.g. meshes, mesh, dataplanes, meshtimeout")
    parser.add_argument("name", metavar="NAME", nargs="?", default="", help="one resource of it")
    parser.add_argument("-m", "--mesh", default="default")
    parser.add_argument(
        "-o",
        "--output",
        choices=(*OUTPUTS, "etag"),
        default="table",
        help="etag: the version of one resource",
    )
    parser.add_argument(
        "--if-none-match", default="", metavar="VERSION", help="only if this is not its version any more"
    )
    parser.add_argument("--size", type=int, default=None, help="at most so many")
    parser.add_argument("--offset", default="", help="where the page begins")
    add_at_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    kind = kind_of(args.type)
    sys.stdout.write(_get_one(args, kind) if args.name else _get_page(args, kind))
    return 0


def _get_one(args: argparse.Namespace, kind: Kind) -> str:
    headers = {}
    if args.if_none_match:
        headers["If-None-Match"] = f'"{version_of(args.if_none_match, "--if-none-match")}"'
    path = path_of(kind, args.mesh, args.name)
    answer = client_of(args, at=args.at).call("GET", path, headers=headers, missing_ok=True)
    if answer.status == NOT_MODIFIED:
        print(f"{kind.name} {args.name!r} is still at version {args.if_none_match}", file=sys.stderr)
        return ""
    if args.output == "etag" and answer.status == 200:
        return answer.headers["ETag"].strip('"') + "\n"
    if answer.status == 404:
        where = f" in {args.mesh} mesh" if kind.scope == "mesh" else ""
        raise CommandError(f"No resources found{where}: there is no {kind.name} with name {args.name!r}")
    if args.output == "table":
        return listing(kind, [answer.body], datetime.now(UTC))
    return resource_yaml(kind, answer.body) if args.output == "yaml" else render(answer.body, args.output)


_HEAD = frozenset({"creationTime", "kri", "labels", "mesh", "modificationTime", "name", "type"})


def resource_yaml(kind: Kind, document: Document) -> str:
    """YAML as kumactl prints it: a spec that stands beside the head comes after it, each in order."""
    if kind.wrapped:
        return render(document, "yaml")
    head = {key: value for key, value in document.items() if key in _HEAD}
    spec = {key: value for key, value in document.items() if key not in _HEAD}
    return render(head, "yaml") + (render(spec, "yaml") if spec else "")


def _get_page(args: argparse.Namespace, kind: Kind) -> str:
    if args.output == "etag" or args.if_none_match:
        raise CommandError("-o etag and --if-none-match are of one resource; give its NAME")
    params = {}
    if args.size is not None:
        params["size"] = str(args.size)
    if args.offset:
        params["offset"] = args.offset
    page = client_of(args, at=args.at).call("GET", path_of(kind, args.mesh), params=params).body
    if args.output != "table":
        return render(page, args.output)
    text = listing(kind, page["items"], datetime.now(UTC))
    if page.get("next"):
        offset = str(page["next"]).partition("offset=")[2].partition("&")[0]
        text += f"\nRerun command with --offset={offset} argument to retrieve more resources\n"
    return text


def listing(kind: Kind, documents: Sequence[Document], now: datetime) -> str:
    """The table of a kind's resources."""
    columns = _COLUMNS.get(kind.name) or (_MESH_SCOPED if kind.scope == "mesh" else _GLOBAL)
    columns = (*columns, ("AGE", lambda document: age(str(document.get("creationTime", "")), now)))
    rows = [[value(document) for _, value in columns] for document in documents]
    return table([name for name, _ in columns], rows)


# --- columns ---


def _field(name: str) -> Column:
    return name.upper(), lambda document: str(document.get(name, ""))


def _mtls(document: Document) -> str:
    mtls = document.get("mtls") or {}
    for backend in mtls.get("backends") or []:
        if backend["name"] == mtls.get("enabledBackend"):
            return f"{backend['type']}/{backend['name']}"
    return "off"


def _on_off(*path: str) -> Callable[[Document], str]:
    def value(document: Document) -> str:
        found: Any = document
        for part in path:
            found = (found or {}).get(part)
        return "on" if found else "off"

    return value


def tags_of(dataplane: Document) -> str:
    """All tags of its inbounds and gateway: `a=1 b=2,3`, sorted."""
    networking = dataplane.get("networking") or {}
    values: dict[str, set[str]] = {}
    for part in [*(networking.get("inbound") or []), networking.get("gateway") or {}]:
        for key, value in (part.get("tags") or {}).items():
            values.setdefault(key, set()).add(value)
    return " ".join(f"{key}={','.join(sorted(found))}" for key, found in sorted(values.items()))


def _address(document: Document) -> str:
    return str((document.get("networking") or {}).get("address", ""))


_GLOBAL: tuple[Column, ...] = (_field("name"),)
_MESH_SCOPED: tuple[Column, ...] = (_field("mesh"), _field("name"))
_COLUMNS: dict[str, tuple[Column, ...]] = {
    "Mesh": (
        _field("name"),
        ("mTLS", _mtls),
        ("LOCALITY", _on_off("routing", "localityAwareLoadBalancing")),
        ("ZONEEGRESS", _on_off("routing", "zoneEgress")),
    ),
    "Dataplane": (_field("mesh"), _field("name"), ("TAGS", tags_of), ("ADDRESS", _address)),
}
