"""`raftmesh explain dataplane NAME [RESOURCE] [PATH]`: why a proxy has what it has, and why not.

Without a resource: what the proxy has, which policies select it, and why the others do not. With a resource,
or a path into it: the policies and resources without which it would differ, and what was passed over.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

import orjson

from cp.cli.common import add_connection_flags, client_of, guarded, render
from cp.cli.tables import table

Document = Mapping[str, Any]
TYPES = ("cluster", "endpoint", "listener", "route", "secret")
VALUE_CHARS_MAX = 120


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("explain", help="why a proxy has a resource or value, and why not another")
    parser.add_argument("kind", metavar="dataplane", choices=("dataplane",))
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("resource", metavar="RESOURCE", nargs="?", default="", help="an Envoy resource")
    parser.add_argument(
        "path", metavar="PATH", nargs="?", default="", help="a field of it, e.g. connectTimeout or /a/0/b"
    )
    parser.add_argument("-m", "--mesh", default="default")
    parser.add_argument("--type", choices=TYPES, default="", help="needed when several have that name")
    parser.add_argument("--at", default="", metavar="INDEX|TIME", help="as it was then")
    parser.add_argument("--shadow", action="store_true", help="policies on trial count")
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    asked = {"type": args.type, "resource": args.resource, "path": args.path, "at": args.at}
    params = {key: value for key, value in asked.items() if value}
    params |= {"shadow": "true"} if args.shadow else {}
    path = f"/meshes/{args.mesh}/dataplanes/{args.name}/_explain"
    answer = client_of(args).call("GET", path, params=params).body
    if args.output != "table":
        sys.stdout.write(render(answer, args.output))
    else:
        sys.stdout.write(value_text(answer) if args.resource else proxy_text(answer))
    return 0


# --- one resource or value --------------------------------------------------------------------------------


def value_text(answer: Document) -> str:
    """The value, since when it is there, what it is from, and what was passed over."""
    kind = answer["type"].rpartition(".")[2]
    place = f"{kind} {answer['resource']}" + (f" {answer['path']}" if answer["path"] else "")
    lines = [place]
    if answer["path"]:
        lines.append(f"  value   {_shown(answer['value']) if answer['present'] else '(not set)'}")
    lines.append(f"  since   {_since(answer['since'], answer['index'])}")
    text = "\n".join(lines) + "\n\n" + _causes(answer)
    if not answer["complete"]:
        text += "  and more\n"
    return text + _passed_over(answer["passedOver"])


def _since(since: Document, index: int) -> str:
    if not since["exact"]:
        return (
            f"before index {since['index']}, the oldest that is retained" if since["index"] < index else "?"
        )
    events = since["events"]
    told = f"index {since['index']}"
    if not events:
        return told
    changed = ", ".join(f"{each['op']} {each['type']} {each['name']}" for each in events[:3])
    return f"{told}  {events[0]['time']}  {changed}{' …' if len(events) > 3 else ''}{_by(events[0])}"


def _by(event: Document) -> str:
    reason = f": {event['reason']}" if event["reason"] else ""
    return f" by {event['actor'] or 'the control plane'}{reason}"


def _causes(answer: Document) -> str:
    columns = ["FROM", "RULE", "INDEX", "TIME", "BY", "WITHOUT IT" if answer["path"] else "MAKES"]
    rows = []
    for cause in answer["from"]:
        rows.append(
            [
                f"{cause['type']} {cause['name']}",
                ", ".join(cause["rules"]) or "-",
                str(cause["index"]),
                cause["modificationTime"],
                _by(cause["event"]).removeprefix(" by ") if cause["event"] else "-",
                _effect(cause),
            ]
        )
    return table(columns, rows)


def _effect(cause: Document) -> str:
    if "without" in cause:
        return "(not set)" if cause["without"] is None else _shown(cause["without"])
    if cause["needed"]:
        return "all of it"
    return ", ".join(cause["changes"][:3]) + (" …" if len(cause["changes"]) > 3 else "")


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"


def _passed_over(passed: list[Document]) -> str:
    if not passed:
        return ""
    rows = [[f"{each['type']} {each['name']}", each.get("rule") or "-", each["reason"]] for each in passed]
    return "\n" + table(["NOT FROM", "RULE", "BECAUSE IT"], rows)


# --- one proxy --------------------------------------------------------------------------------------------


def proxy_text(answer: Document) -> str:
    """What a proxy has, what selects it, and what does not."""
    text = ""
    for type_url, names in answer["resources"].items():
        text += f"{type_url.rpartition('.')[2]}\n" + "".join(f"  {name}\n" for name in names)
    rows = [
        [f"{each['type']} {each['name']}", ", ".join(each["inbounds"]) or "-", str(each["index"])]
        for each in answer["from"]
    ]
    if rows:
        text += "\n" + table(["SELECTED BY", "INBOUNDS", "INDEX"], rows)
    return text + _passed_over(answer["passedOver"])
