"""`raftmesh config`: the contexts, i.e. which control planes the other commands talk to."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from cp.cli.client import Client
from cp.cli.common import guarded, render
from cp.cli.contexts import ContextFile, ControlPlane, address_of, default_path
from cp.cli.errors import CommandError
from cp.cli.tables import table

# A comma separates two pairs only where another name and "=" follow.
_PAIRS = re.compile(r",(?=[A-Za-z][\w.-]*=)")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("config", help="which control planes the commands talk to")
    parser.add_argument("--config-file", default="", help="(default: ~/.raftmesh/config)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("view", help="print the contexts").set_defaults(handler=_with_file(view))
    group = actions.add_parser("control-planes", help="add, list, remove, switch")
    verbs = group.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("list").set_defaults(handler=_with_file(show))
    for name, handler in (("remove", remove), ("switch", switch)):
        verb = verbs.add_parser(name)
        verb.add_argument("--name", required=True)
        verb.set_defaults(handler=_with_file(handler))
    _register_add(verbs)


def _register_add(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("add")
    add = parser.add_argument
    add("--name", required=True)
    add("--address", action="append", required=True, metavar="URL", help="an API address; repeat for more")
    add("--overwrite", action="store_true")
    add("--ca-cert-file", default="")
    add("--skip-verify", action="store_true")
    add("--client-cert-file", default="")
    add("--client-key-file", default="")
    add("--headers", action="append", default=[], metavar="NAME=VALUE")
    add("--auth-type", choices=("tokens",), default="tokens")
    add("--auth-conf", action="append", default=[], metavar="token=TOKEN")
    add("--skip-check", action="store_true", help="do not ask the control plane whether it is one")
    parser.set_defaults(handler=_with_file(add_control_plane))


def _with_file(
    handler: Callable[[ContextFile, argparse.Namespace], int],
) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        return handler(ContextFile(Path(args.config_file) if args.config_file else default_path()), args)

    return guarded(run)


def view(file: ContextFile, _: argparse.Namespace) -> int:
    sys.stdout.write(render(file.document, "yaml"))
    return 0


def show(file: ContextFile, _: argparse.Namespace) -> int:
    current = file.current().name
    rows = [
        ("*" if each.name == current else "", each.name, ",".join(each.addresses))
        for each in file.control_planes()
    ]
    sys.stdout.write(table(("ACTIVE", "NAME", "ADDRESS"), rows))
    return 0


def add_control_plane(file: ContextFile, args: argparse.Namespace) -> int:
    control_plane = ControlPlane(
        name=args.name,
        addresses=tuple(map(address_of, args.address)),
        ca_cert_file=args.ca_cert_file,
        skip_verify=args.skip_verify,
        client_cert_file=args.client_cert_file,
        client_key_file=args.client_key_file,
        headers=_pairs(args.headers, "--headers"),
        token=_pairs(args.auth_conf, "--auth-conf").get("token", ""),
    )
    if not args.skip_check:
        _check(control_plane)
    file.add(control_plane, overwrite=args.overwrite)
    file.write()
    print(f'added Control Plane "{args.name}"')
    print(f'switched active Control Plane to "{args.name}"')
    return 0


def remove(file: ContextFile, args: argparse.Namespace) -> int:
    if not file.forget(args.name):
        raise CommandError(f"there is no Control Plane with name {args.name!r}")
    file.write()
    print(f'removed Control Plane "{args.name}"')
    return 0


def switch(file: ContextFile, args: argparse.Namespace) -> int:
    if all(each.name != args.name for each in file.control_planes()):
        raise CommandError(f"there is no Control Plane with name {args.name!r}")
    file.document["currentContext"] = args.name
    file.write()
    print(f'switched active Control Plane to "{args.name}"')
    return 0


def _check(control_plane: ControlPlane) -> None:
    body = Client(control_plane, timeout_s=10.0).call("GET", "/").body
    if not isinstance(body, dict) or "version" not in body:
        raise CommandError(
            f"{control_plane.addresses[0]} answers, but not as a control plane (use --skip-check)"
        )


def _pairs(texts: list[str], option: str) -> dict[str, str]:
    """kumactl's lists: `a=1,b=2`, or the option repeated; a value may hold `=` and commas."""
    pairs = [part.partition("=") for text in texts for part in _PAIRS.split(text)]
    if any(not name or not separator for name, separator, _ in pairs):
        raise CommandError(f"{option}: must be NAME=VALUE")
    return {name: value for name, _, value in pairs}
