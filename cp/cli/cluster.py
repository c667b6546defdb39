"""`raftmesh cluster`: who belongs to the cluster and who leads it, through any replica's API.

A change is asked for, not made: the log keeps what is wanted, and whoever leads carries it
out (raftstore/members.py). So a command that is interrupted has either done nothing or will
be finished without it, and `cluster members` shows what is still under way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from cryptography.hazmat.primitives import serialization

from cp.cli.client import Client
from cp.cli.common import add_connection_flags, client_of, guarded, render
from cp.cli.contexts import ControlPlane, address_of
from cp.cli.errors import CommandError
from cp.cli.tables import table
from cp.duration import parse_duration
from raftstore import join, recover
from raftstore.certs import save_node
from raftstore.errors import StoreError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `cluster` with its subcommands."""
    group = commands.add_parser("cluster", help="look at and change the cluster of replicas")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = _action(actions, "members", "list the replicas, as one of them sees it", members)
    parser.add_argument("-o", "--output", choices=("table", "yaml", "json"), default="table")
    parser = _action(actions, "add", "register a replica that has its certificate already", add)
    parser.add_argument("id", metavar="ID", help="its raft.nodeId")
    parser.add_argument("address", metavar="HOST:PORT", help="where the others reach its raft port")
    parser.add_argument("--voter", action="store_true", help="let it vote as soon as it has caught up")
    parser.add_argument("--replace", default="", metavar="ID", help="a dead voter that it takes the place of")
    parser = _action(actions, "promote", "let an observer vote once it has caught up", promote)
    parser.add_argument("id", metavar="ID")
    parser = _action(actions, "remove", "remove a replica; a leader hands over first", remove)
    parser.add_argument("id", metavar="ID")
    parser = _action(actions, "transfer-leader", "let another voter lead", transfer)
    parser.add_argument("id", metavar="ID")
    parser = _action(actions, "token", "make a token with which one new replica may join", token)
    parser.add_argument("--voter", action="store_true", help="it shall vote once it has caught up")
    parser.add_argument("--replace", default="", metavar="ID", help="a dead voter whose place it takes")
    parser.add_argument("--node-id", default="", metavar="ID", help="only for a replica of this name")
    parser.add_argument("--valid-for", default="1h", help="e.g. 10m; at most 168h")
    _register_join(actions)
    _register_recover(actions)


def _register_join(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("join", help="get this machine's certificate, and what to start it with")
    parser.add_argument("--token", required=True, help="of `raftmesh cluster token`")
    parser.add_argument(
        "--cp-address", action="append", required=True, metavar="URL", help="API of a replica"
    )
    parser.add_argument("--node-id", required=True, metavar="ID", help="the new replica's raft.nodeId")
    parser.add_argument(
        "--address", required=True, metavar="HOST:PORT", help="where the others reach its raft port"
    )
    parser.add_argument("--tls-dir", required=True, type=Path, help="where to write certificate and key")
    parser.add_argument("--data-dir", default="/var/lib/raftmesh", help="for the settings that are printed")
    parser.add_argument("--api-timeout", default="1m", help="for one request, e.g. 30s")
    parser.set_defaults(handler=guarded(join_cluster))


def _register_recover(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("recover", help="after most voters are lost for good: go on with one replica")
    parser.add_argument("--data-dir", required=True, type=Path, help="raft.dataDir of the stopped replica")
    parser.add_argument(
        "--unsafe-new-cluster",
        action="store_true",
        help="make it the only voter; what it had not received yet is lost",
    )
    parser.set_defaults(handler=guarded(recover_cluster))


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    help_text: str,
    handler: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=help_text)
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handler))
    return parser


# --- looking ---------------------------------------------------------------------------------


def members(args: argparse.Namespace) -> int:
    status = client_of(args).call("GET", "/cluster").body
    if args.output != "table":
        sys.stdout.write(render(status, args.output))
        return 0
    rows = [_row(member, status) for member in status["members"]]
    sys.stdout.write(table(("ID", "ADDRESS", "ROLE", "CONNECTED", "LOG", "PENDING"), rows))
    if not status["hasQuorum"]:
        print(f"Warning: {status['id']} reaches no quorum; this is the state it last knew", file=sys.stderr)
    if status["readOnlyReason"]:
        print(f"Warning: {status['id']} takes no writes: {status['readOnlyReason']}", file=sys.stderr)
    return 0


def _row(member: dict[str, Any], status: dict[str, Any]) -> tuple[str, ...]:
    """LOG is how far a replica's log is known to be: its own, and on the leader everyone's."""
    index = status["durableIndex"] if member["id"] == status["id"] else member["matchIndex"]
    pending = {"voter": "becomes a voter", "removed": "is being removed"}.get(member["wanted"], "-")
    connected = "yes" if member["connected"] else "no"
    address = member["address"] or "-"
    return member["id"], address, member["role"], connected, "-" if index is None else str(index), pending


# --- changing --------------------------------------------------------------------------------


def add(args: argparse.Namespace) -> int:
    role = "voter" if args.voter or args.replace else "observer"
    body = {"id": args.id, "address": args.address, "role": role, "replaces": args.replace}
    answer = client_of(args).call("POST", "/cluster/members", body=body).body
    done = f"{args.id} is added as {'an observer' if role == 'observer' else 'a voter'}"
    return _told(answer, f"{done} in the place of {args.replace}" if args.replace else done)


def promote(args: argparse.Namespace) -> int:
    answer = client_of(args).call("POST", f"/cluster/members/{quote(args.id, safe='')}/promote").body
    return _told(answer, f"{args.id} is a voter")


def remove(args: argparse.Namespace) -> int:
    answer = client_of(args).call("DELETE", f"/cluster/members/{quote(args.id, safe='')}").body
    return _told(answer, f"{args.id} is removed; its process can be stopped for good")


def transfer(args: argparse.Namespace) -> int:
    client_of(args).call("POST", "/cluster/transfer-leader", body={"to": args.id})
    print(f"{args.id} leads")
    return 0


def _told(answer: dict[str, Any], done: str) -> int:
    pending = answer.get("pending")
    print(f"accepted, and under way: {pending}" if pending else done)
    return 0


# --- joining ---------------------------------------------------------------------------------


def token(args: argparse.Namespace) -> int:
    _seconds("--valid-for", args.valid_for)
    body = {
        "role": "voter" if args.voter or args.replace else "observer",
        "node": args.node_id,
        "replaces": args.replace,
        "validFor": args.valid_for,
    }
    print(client_of(args).call("POST", "/cluster/tokens", body=body).body["token"])
    return 0


def join_cluster(args: argparse.Namespace) -> int:
    """The answer proves itself by the token, so the API's own certificate need not be known here."""
    timeout_s = _seconds("--api-timeout", args.api_timeout)
    addresses = tuple(map(address_of, args.cp_address))
    client = Client(ControlPlane(addresses=addresses, skip_verify=True), timeout_s=timeout_s)
    try:
        found, key = join.parse_token(args.token), join.new_key()
        if (args.tls_dir / f"{args.node_id}.key").exists():
            raise CommandError(f"{args.tls_dir} holds a key of {args.node_id} already; use another directory")
        request = join.make_request(found, args.node_id, args.address, key)
        answer = client.call("POST", "/cluster/join", body=request).body
        if not isinstance(answer, dict):
            raise CommandError("what answered is no control plane of raftmesh")
        ca, certificate, voters = join.check_answer(found, args.node_id, key, answer)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        save_node(args.tls_dir, args.node_id, ca, certificate, private)
    except (StoreError, OSError) as error:
        raise CommandError(str(error)) from error
    print(f"# certificate of {args.node_id} saved in {args.tls_dir}; put this into its settings and start it")
    sys.stdout.write(yaml.safe_dump(_settings(args, voters), sort_keys=False))
    return 0


# --- a lost quorum -----------------------------------------------------------------------------


def recover_cluster(args: argparse.Namespace) -> int:
    try:
        found = recover.verify(args.data_dir)
        term, index = found.last
        warning = (
            f"{found.node_id} has everything up to entry {index} of term {term}. Writes that the cluster "
            "acknowledged after that, if any, are lost. The other replicas must never start again with the "
            "data that they have: they would be a second cluster. Among several survivors, use the one whose "
            "last entry has the highest term and, among equals, the highest index"
        )
        if not args.unsafe_new_cluster:
            raise CommandError(f"{warning}; to go on, say --unsafe-new-cluster")
        recover.new_cluster(args.data_dir)
    except StoreError as error:
        raise CommandError(str(error)) from error
    print(f"Warning: {warning}.", file=sys.stderr)
    print(f"{args.data_dir} makes a cluster of {found.node_id} alone; start it, then add new replicas")
    return 0


def _seconds(flag: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise CommandError(f"{flag}: {error}") from None


def _settings(args: argparse.Namespace, voters: dict[str, str]) -> dict[str, Any]:
    port = args.address.rpartition(":")[2]
    return {
        "raft": {
            "nodeId": args.node_id,
            "listen": f"0.0.0.0:{port}",
            "advertise": args.address,
            "join": True,
            "peers": [f"{voter}={address}" for voter, address in sorted(voters.items())],
            "tlsDir": str(args.tls_dir.absolute()),
            "dataDir": args.data_dir,
        }
    }
