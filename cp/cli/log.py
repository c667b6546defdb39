"""`raftmesh log`: read a data directory without a replica, and without changing a byte of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import orjson

from cp.cli.common import guarded
from cp.cli.errors import CommandError
from raftstore import recover
from raftstore.codec import CodecError, decode_batch
from raftstore.entries import MEMBERSHIP, NO_OP, Change
from raftstore.errors import StoreError
from raftstore.types import Delete, DeleteScope, Put
from raftstore.wal import Line, dump


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `log` with its subcommands."""
    group = commands.add_parser("log", help="check or print the log of a data directory, offline")
    actions = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_text, handler in (
        ("verify", "check every byte of log and snapshots", verify_command),
        ("dump", "print every record of the log as one line of JSON (values left out)", dump_command),
    ):
        parser = actions.add_parser(name, help=help_text)
        parser.add_argument("dir", type=Path, metavar="DIR", help="a raft.dataDir")
        parser.set_defaults(handler=guarded(handler))


def verify_command(args: argparse.Namespace) -> int:
    try:
        found = recover.verify(args.dir)
    except StoreError as error:
        raise CommandError(str(error)) from error
    log = found.log
    print(f"node {found.node_id} of cluster {found.cluster_id}: the data is whole")
    entries = f"entries {log.first_index} to {log.last_index}" if log.last_index else "no entries"
    print(f"log: {log.segments} segments, {log.records} records, {entries}, committed to {log.commit_index}")
    term, index = found.last
    print(f"last entry: {index} of term {term}")
    print(f"elections: term {log.term}, vote {log.vote or 'none'}")
    for header in found.snapshots:
        print(f"snapshot at {header.index}: {header.records} records, voters {', '.join(header.voters)}")
    if log.torn:
        print(f"the last write was interrupted and will be cut: {log.torn}")
    if found.recovering:
        print("it is being rebuilt from its peers, and takes no part in elections until that is done")
    return 0


def dump_command(args: argparse.Namespace) -> int:
    directory = args.dir / "wal"
    if not directory.is_dir():
        raise CommandError(f"{args.dir} is no data directory: there is no {directory}")
    try:
        for line in dump(directory):
            sys.stdout.buffer.write(orjson.dumps(_described(line)) + b"\n")
        sys.stdout.flush()
    except (StoreError, OSError) as error:
        sys.stdout.flush()
        raise CommandError(str(error)) from error
    return 0


_FIELDS: dict[str, tuple[str, ...]] = {
    "header": ("clusterId", "nodeId", "sequence", "firstIndex"),
    "truncate": ("fromIndex",),
    "hard_state": ("term", "vote"),
    "commit": ("index",),
    "sync": ("epoch", "bytes"),
}


def _described(line: Line) -> dict[str, Any]:
    where = {"segment": line.segment, "offset": line.offset, "type": line.kind}
    if line.kind != "entry":
        return where | dict(zip(_FIELDS.get(line.kind, ()), line.fields, strict=False))
    index, term, command = line.fields
    return where | {"index": index, "term": term, "bytes": len(command)} | _content(command)


def _content(command: bytes) -> dict[str, Any]:
    if command == NO_OP:
        return {"noOp": True}
    try:
        if command[:1] == MEMBERSHIP:
            change = Change.decode(command)
            return {"membership": {"op": change.op, "node": change.node, "voters": change.after}}
        batch = decode_batch(command[1:])
    except (CodecError, ValueError) as error:
        return {"notUnderstood": str(error)}
    transactions = [
        {
            "requestId": txn.request_id,
            "actor": txn.actor,
            "via": txn.via,
            "guards": len(txn.guards),
            "writes": [_write(write) for write in txn.writes],
        }
        if txn is not None
        else None
        for txn in batch.txns
    ]
    return {"timeMs": batch.time_ms, "transactions": transactions}


def _write(write: Put | Delete | DeleteScope) -> dict[str, Any]:
    if isinstance(write, Put):
        return {"put": list(write.key), "bytes": len(write.value)}
    if isinstance(write, Delete):
        return {"delete": list(write.key)}
    return {"deleteScope": list(write.scope)}
