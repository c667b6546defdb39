"""`raftmesh inspect`: how proxies, zones, meshes and services are, and what applies to them.

Tables as kumactl prints them; JSON and YAML are the API's answers. What is told of policies comes from the
same rules as the configuration does: `inspect dataplane` shows the policies of one proxy, `inspect <policy>`
the proxies of one policy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from cp.cli.client import Client
from cp.cli.common import (
    OUTPUTS,
    add_at_flag,
    add_connection_flags,
    all_items,
    client_of,
    guarded,
    kind_of,
    path_of,
    render,
)
from cp.cli.errors import CommandError
from cp.cli.inspect_attachments import HEADING, affected_text, attached_text
from cp.cli.inspect_places import ASPECTS, add_place_flags, is_about_a_place, place_text
from cp.cli.inspect_policies import policies_text
from cp.cli.inspect_status import status_text
from cp.cli.inspect_tables import TABLES, Row
from cp.cli.tables import table
from mesh.registry import KINDS, Kind, kind_by_arg

Document = Mapping[str, Any]
PROXY_TYPES = ("policies", "config", "config-dump", "stats", "clusters", "status", *ASPECTS)
_OF_ENVOY = ("config-dump", "stats", "clusters")

# what is typed -> the list of the API, below the mesh when it begins without a slash
_LISTS: Mapping[str, str] = {
    "dataplanes": "dataplanes/_overview",
    "zones": "/zones/_overview",
    "zone-ingresses": "/zoneingresses/_overview",
    "zoneingresses": "/zoneingresses/_overview",
    "zoneegresses": "/zoneegresses/_overview",
    "zone-egresses": "/zoneegresses/_overview",
    "meshes": "/mesh-insights",
    "services": "service-insights",
}
# kinds of proxies, by what is typed; an alias names the same
_PROXIES: Mapping[str, str] = {
    "dataplane": "dataplane",
    "zoneingress": "zoneingress",
    "zone-ingress": "zoneingress",
    "zoneegress": "zoneegress",
    "zone-egress": "zoneegress",
}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("inspect", help="show how things are, and what applies to them")
    parser.add_argument(
        "type",
        metavar="WHAT",
        help="dataplanes, zones, zone-ingresses, zone-egresses, meshes, services; "
        "with a NAME: dataplane, meshgateway or a policy such as meshtimeout",
    )
    parser.add_argument("name", metavar="NAME", nargs="?", default="")
    parser.add_argument("-m", "--mesh", default="default")
    parser.add_argument("-o", "--output", choices=OUTPUTS, default="table")
    parser.add_argument("--tag", action="append", default=[], metavar="K=V", help="dataplanes with this tag")
    parser.add_argument("--gateway", action="store_true", help="dataplanes that are gateways")
    parser.add_argument("--ingress", action="store_true", help="dataplanes that are ingresses of old")
    parser.add_argument("--new-api", action="store_true", help="of a policy: only the proxies' names")
    parser.add_argument(
        "--type",
        dest="aspect",
        choices=PROXY_TYPES,
        default="",
        help="of one proxy (default: policies; of an ingress or egress: config-dump)",
    )
    parser.add_argument("--shadow", action="store_true", help="with --type=config: policies on trial count")
    parser.add_argument("--include", default="", help="with --type=config: diff")
    parser.add_argument("--include-eds", action="store_true", help="with --type=config-dump: endpoints, too")
    add_place_flags(parser)
    add_at_flag(parser)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def inspectable() -> list[str]:
    """Everything that can be inspected, as it is typed."""
    kinds = [kind.arg for kind in KINDS.values() if kind.is_policy or kind.name == "MeshGateway"]
    return sorted([*_LISTS, *_PROXIES, *kinds])


def handle(args: argparse.Namespace) -> int:
    if args.type in _LISTS and not args.name:
        sys.stdout.write(_list(args))
        return 0
    if not args.name:
        raise CommandError(f"inspect {args.type} needs a NAME; lists: {', '.join(sorted(_LISTS))}")
    if args.type in _PROXIES:
        sys.stdout.write(_proxy(args))
        return 0
    kind = kind_of(args.type)
    if kind.name == "MeshGateway" or kind.is_policy:
        sys.stdout.write(_affected(args))
        return 0
    raise CommandError(f"nothing is known of a {kind.name}; try raftmesh get {args.type} {args.name}")


# --- lists --------------------------------------------------------------------------------


def _list(args: argparse.Namespace) -> str:
    path = _LISTS[args.type]
    path = path if path.startswith("/") else f"/meshes/{args.mesh}/{path}"
    params = {"gateway": "true"} if args.gateway else {}
    items = all_items(client_of(args, at=args.at), path + _tags(args.tag), params)
    if args.ingress:
        items = [each for each in items if _is_ingress(each)]
    if args.output != "table":
        return render({"total": len(items), "items": items, "next": None}, args.output)
    columns, rows = TABLES[path.strip("/").split("/")[-1 if args.type in ("meshes", "services") else -2]]
    return _table(columns, rows, items)


def _is_ingress(overview: Document) -> bool:
    """Since Kuma 1.2 an ingress is a kind of its own, and no Dataplane is one."""
    return bool(((overview.get("dataplane") or {}).get("networking") or {}).get("ingress"))


def _table(columns: Sequence[str], row: Row, documents: Sequence[Document]) -> str:
    now = datetime.now(UTC)
    return table(columns, [row(document, now) for document in documents])


def _tags(tags: Sequence[str]) -> str:
    """The filter of a list; each tag is a parameter of its own. Raises CommandError."""
    parts = []
    for tag in tags:
        key, equals, value = tag.partition("=")
        if not key or not equals:
            raise CommandError(f"--tag {tag!r}: expected key=value")
        parts.append(f"tag={quote(key)}:{quote(value)}")
    return f"?{'&'.join(parts)}" if parts else ""


# --- one proxy ----------------------------------------------------------------------------


def _settle_aspect(args: argparse.Namespace, kind: Kind) -> None:
    """What is asked of the proxy where nothing is said. Raises CommandError for what it has not."""
    of_zone = kind.name != "Dataplane"
    args.aspect = args.aspect or ("config-dump" if of_zone else "policies")
    if of_zone and args.aspect not in (*_OF_ENVOY, "status"):
        allowed = ", ".join((*_OF_ENVOY, "status"))
        raise CommandError(f"--type={args.aspect} is of Dataplanes; a {kind.name} has {allowed}")


def _proxy(args: argparse.Namespace) -> str:
    kind = kind_by_arg(_PROXIES[args.type])
    assert kind is not None, "_PROXIES names kinds"
    _settle_aspect(args, kind)
    for flag, allowed in (("shadow", "config"), ("include", "config"), ("include_eds", "config-dump")):
        if getattr(args, flag) and args.aspect != allowed:
            name = flag.replace("_", "-")
            raise CommandError(f"flag '--{name}' can be used only when '--type={allowed}'")
    if args.at and args.aspect in _OF_ENVOY:
        raise CommandError(f"--type={args.aspect} asks Envoy itself, which knows no past; leave out --at")
    base = path_of(kind, args.mesh, args.name)
    if is_about_a_place(args):
        return place_text(args, base)
    if args.aspect == "policies":
        document = _policies_of(client_of(args, at=args.at), base)
        if args.output != "table":
            return render(document, args.output)
        return policies_text(document) if "rules" in document else attached_text(document)
    if args.aspect == "status":
        return _status(args, kind)
    suffix = {"config": "_config", "config-dump": "xds"}.get(args.aspect, args.aspect)
    params = {"shadow": "true"} if args.shadow else {}
    params |= {"include": args.include} if args.include else {}
    params |= {"include_eds": "true"} if args.include_eds else {}
    body = client_of(args, at=args.at).call("GET", f"{base}/{suffix}", params=params).body
    return body if isinstance(body, str) else render(body, "json")


def _policies_of(client: Client, base: str) -> Document:
    """What applies to a proxy; of a Kuma that is too old for `_rules`, what attaches to it."""
    found: Document
    try:
        found = client.call("GET", f"{base}/_rules").body
    except CommandError as error:
        older = client.call("GET", f"{base}/policies", missing_ok=True) if error.status == 404 else None
        if older is None or older.status == 404:
            raise
        found = older.body
    return found


def _status(args: argparse.Namespace, kind: Kind) -> str:
    observed = KINDS[kind.has_insight]
    insight = client_of(args, at=args.at).call("GET", path_of(observed, args.mesh, args.name)).body
    return status_text(insight, datetime.now(UTC)) if args.output == "table" else render(insight, args.output)


# --- what is affected ---------------------------------------------------------------------


def _affected(args: argparse.Namespace) -> str:
    kind = kind_of(args.type)
    is_named_only = args.new_api and kind.is_policy
    path = f"{path_of(kind, args.mesh, args.name)}/{'_resources/' if is_named_only else ''}dataplanes"
    page = client_of(args, at=args.at).call("GET", path).body
    if args.output != "table":
        return render(page, args.output)
    if is_named_only:
        return HEADING + "".join(f"  {item['name']}\n" for item in page["items"])
    if kind.is_policy:
        return affected_text(page)
    return "".join(f"{item['dataplane']['name']}\n" for item in page["items"])
