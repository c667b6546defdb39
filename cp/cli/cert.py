"""`raftmesh cert`: the cluster's certificate authority and each replica's certificate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from raftstore.certs import CA_CERT, CA_DAYS, NODE_DAYS, create_ca, issue
from raftstore.errors import StoreError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cert` with its subcommands."""
    group = commands.add_parser("cert", help="make the certificates with which replicas know each other")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    ca = actions.add_parser("ca", help="make the cluster's CA; ca.key makes members: guard it")
    ca.add_argument("--dir", required=True, type=Path, help="where to write ca.pem and ca.key")
    ca.add_argument("--days", type=_days, default=CA_DAYS)
    ca.set_defaults(handler=_ca)
    node = actions.add_parser("node", help="make or renew the certificate of one replica")
    node.add_argument("id", help="the replica's raft.nodeId")
    node.add_argument("--dir", required=True, type=Path, help="where ca.pem and ca.key are")
    node.add_argument(
        "--host", action="append", default=[], help="a DNS name or address of it; repeat for more"
    )
    node.add_argument("--days", type=_days, default=NODE_DAYS)
    node.set_defaults(handler=_node)


def _days(text: str) -> int:
    days = int(text)
    if not 1 <= days <= 36_500:
        raise argparse.ArgumentTypeError("must be from 1 to 36500")
    return days


def _ca(arguments: argparse.Namespace) -> int:
    try:
        cluster = create_ca(arguments.dir, days=arguments.days)
    except (StoreError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"CA of cluster {cluster} saved in {arguments.dir / CA_CERT}")
    return 0


def _node(arguments: argparse.Namespace) -> int:
    try:
        path = issue(arguments.dir, arguments.id, arguments.host, days=arguments.days)
    except (StoreError, OSError, ValueError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"certificate of {arguments.id} saved in {path}")
    print(f"give the replica {path.name}, {path.stem}.key and {CA_CERT} as its raft.tlsDir")
    return 0
