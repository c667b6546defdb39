"""What the commands that talk to the API share: connection flags, the kind argument, printing."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import yaml

from cp.cli.client import Client
from cp.cli.contexts import ContextFile, ControlPlane, address_of, default_path
from cp.cli.errors import CommandError
from cp.duration import parse_duration
from mesh.registry import KINDS, Kind, kind_by_arg

PAGE_SIZE = 1_000  # the largest that the API gives
ITEMS_MAX = 1_000_000
OUTPUTS = ("table", "yaml", "json")
LOG_LEVELS = ("off", "info", "debug")


def add_connection_flags(parser: argparse.ArgumentParser) -> None:
    """--config-file, --context and, without any file, --cp-address."""
    add = parser.add_argument
    add("--config-file", default="", help="contexts (default: ~/.raftmesh/config)")
    add("--no-config", action="store_true", help="ignore the contexts and use the default address")
    add("--context", default="", help="the context to use instead of the current one")
    add("--cp-address", action="append", default=[], metavar="URL", help="an API address; repeat for more")
    add("--api-timeout", default="1m", help="for one request, e.g. 30s")
    add("--log-level", choices=LOG_LEVELS, default="off", help="of the command itself, on standard error")


def add_at_flag(parser: argparse.ArgumentParser) -> None:
    """--at, for a command that reads; `client_of(args, at=args.at)` then reads the past."""
    parser.add_argument("--at", default="", metavar="INDEX|TIME", help="as it was then")


def client_of(args: argparse.Namespace, *, at: str = "") -> Client:
    """The client that the connection flags ask for; with `at`, one that reads the past."""
    try:
        timeout_s = parse_duration(args.api_timeout)
    except ValueError as error:
        raise CommandError(f"--api-timeout: {error}") from None
    return Client(control_plane_of(args), timeout_s=timeout_s, at=at)


def control_plane_of(args: argparse.Namespace) -> ControlPlane:
    addresses = args.cp_address or [
        part for part in os.environ.get("RAFTMESH_CP_ADDRESS", "").split(",") if part
    ]
    if addresses:
        return ControlPlane(addresses=tuple(map(address_of, addresses)))
    if args.no_config:
        return ControlPlane()
    return ContextFile(Path(args.config_file) if args.config_file else default_path()).current(args.context)


def guarded(handler: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """Turn a CommandError into one message on standard error and exit status 1."""

    def run(args: argparse.Namespace) -> int:
        level = getattr(args, "log_level", "off")
        if level != "off":
            logging.basicConfig(stream=sys.stderr, level=level.upper(), format="%(levelname)s %(message)s")
        try:
            return handler(args)
        except CommandError as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1

    return run


def kind_of(argument: str) -> Kind:
    """The kind that a TYPE argument names, by its singular, plural, path or kind name."""
    kind = kind_by_arg(argument)
    if kind is None:
        allowed = ", ".join(sorted(kind.arg for kind in KINDS.values() if kind.arg))
        raise CommandError(f"unknown TYPE: {argument}. Allowed values: {allowed}")
    return kind


def path_of(kind: Kind, mesh: str, name: str = "") -> str:
    """The API path of a kind's collection, or of one resource in it."""
    base = f"/meshes/{mesh}/{kind.path}" if kind.scope == "mesh" else f"/{kind.path}"
    return f"{base}/{name}" if name else base


def all_items(client: Client, path: str, params: Mapping[str, str] | None = None) -> list[Mapping[str, Any]]:
    """Every item of a list, over all of its pages. Raises CommandError for what is no list."""
    found: list[Mapping[str, Any]] = []
    offset = "0"
    while True:
        asked = {**(params or {}), "size": str(PAGE_SIZE), "offset": offset}
        page = client.call("GET", path, params=asked).body
        items = page.get("items") if isinstance(page, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise CommandError(f"{path}: the answer is no list of resources")
        found += items
        if len(found) > ITEMS_MAX:
            raise CommandError(f"{path}: more than {ITEMS_MAX} resources")
        if not page.get("next"):
            return found
        following = parse_qs(urlsplit(str(page["next"])).query).get("offset", [""])[0]
        if not following.isdecimal() or int(following) <= int(offset):
            raise CommandError(f"{path}: the next page does not follow: {str(page['next'])[:200]}")
        offset = following


def render(document: Any, output: str) -> str:
    """JSON or YAML for a person: two spaces, and for YAML the keys in order."""
    if output == "json":
        return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n"
    text: str = yaml.dump(document, Dumper=_Dumper, default_flow_style=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    """YAML as Go writes it: what could be read as no text stands in double quotes, lines as lines."""


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=_style(dumper, value))


def _style(dumper: yaml.SafeDumper, value: str) -> str | None:
    if "\n" in value:
        return "|"
    tag = dumper.resolve(yaml.ScalarNode, value, (True, False))  # type: ignore[no-untyped-call]
    ambiguous = tag not in _TEXTS or value in _SHORT_BOOLEANS or _looks_like_a_time(value)
    return '"' if ambiguous else None


# What is read as text, and what only looks like a reference (`*`), which single quotes are for.
_TEXTS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:yaml")
_SHORT_BOOLEANS = ("y", "Y", "n", "N")


def _looks_like_a_time(value: str) -> bool:
    return len(value) >= 20 and value[4:5] == "-" and value[10:11] == "T" and value[:4].isdigit()


_Dumper.add_representer(str, _string)
