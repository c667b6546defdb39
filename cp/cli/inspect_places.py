"""The parts of one proxy: `raftmesh inspect dataplane NAME --type layout|rules|routes`, and the policies of one part.

raftmesh inspect dataplane web --type layout                          its ways in and out, with their KRIs
raftmesh inspect dataplane web --type policies --inbound KRI          what applies to one inbound
raftmesh inspect dataplane web --type policies --outbound KRI [--route KRI]
raftmesh inspect dataplane web --type routes --outbound KRI
raftmesh inspect dataplane web --type rules                           all of it, as the matching made it
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from cp.cli.common import client_of, render
from cp.cli.errors import CommandError
from cp.cli.tables import table

Document = Mapping[str, Any]
ASPECTS = ("layout", "rules", "routes")


def add_place_flags(parser: argparse.ArgumentParser) -> None:
    """Which part of a proxy, by its KRI, as `--type layout` prints it."""
    add = parser.add_argument
    add("--inbound", default="", metavar="KRI", help="with --type=policies: of this inbound")
    add("--outbound", default="", metavar="KRI", help="with --type=policies or routes: of this outbound")
    add("--route", default="", metavar="KRI", help="with --outbound: of this route")


def is_about_a_place(args: argparse.Namespace) -> bool:
    """Whether the command asks for what is answered here."""
    return args.aspect in ASPECTS or bool(args.inbound or args.outbound or args.route)


def place_text(args: argparse.Namespace, base: str) -> str:
    """The answer for a part of the proxy whose API path is `base`. Raises CommandError."""
    document = client_of(args, at=args.at).call("GET", f"{base}/{_suffix(args)}").body
    if args.output == "table" and args.aspect == "layout":
        return layout_text(document)
    return render(document, "yaml" if args.output == "table" else args.output)


def _suffix(args: argparse.Namespace) -> str:
    inbound, outbound, route = (quote(each, safe="") for each in (args.inbound, args.outbound, args.route))
    if args.aspect in ("layout", "rules"):
        if inbound or outbound or route:
            raise CommandError(
                f"--type={args.aspect} is of the whole proxy; leave out --inbound and --outbound"
            )
        return f"_{args.aspect}"
    if args.aspect not in ("policies", "routes"):
        raise CommandError("--inbound and --outbound need --type=policies or --type=routes")
    if inbound and outbound:
        raise CommandError("--inbound and --outbound exclude each other")
    if route and not outbound:
        raise CommandError("--route needs --outbound")
    if args.aspect == "routes":
        if not outbound or route:
            raise CommandError("--type=routes needs --outbound, and shows all routes of it")
        return f"_outbounds/{outbound}/_routes"
    if inbound:
        return f"_inbounds/{inbound}/_policies"
    return f"_outbounds/{outbound}/_routes/{route}/_policies" if route else f"_outbounds/{outbound}/_policies"


def layout_text(layout: Document) -> str:
    """The ways into a proxy and out of it, one line each."""
    parts: Sequence[tuple[str, str]] = (
        ("INBOUND", "inbounds"),
        ("LISTENER", "listeners"),
        ("OUTBOUND", "outbounds"),
    )
    rows = [row for title, member in parts for row in _rows(title, layout.get(member) or ())]
    return table(["WAY", "PORT", "PROTOCOL", "KRI", "IN ENVOY"], rows)


def _rows(title: str, places: Sequence[Document]) -> Iterator[list[str]]:
    for place in places:
        protocol = place.get("protocol") or place.get("type") or "-"
        yield [title, str(place["port"]), protocol, place["kri"], place["proxyResourceName"]]
