"""`raftmesh backup` and `raftmesh restore`: the whole store as one file.

A backup is checked while it arrives: it gets its name only when every checksum and the
digest of the whole fit, and it is on disk. It holds all secrets, so only its owner may
read it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import aiohttp

from cp.cli.client import tls_context
from cp.cli.common import add_connection_flags, control_plane_of, guarded
from cp.cli.contexts import ControlPlane
from cp.cli.errors import CommandError, from_problem
from raftstore.backup import restore as restore_store
from raftstore.certs import CA_CERT, check_node_id, cluster_id
from raftstore.errors import Corrupt, StoreError
from raftstore.snapshot import Header, SnapshotReader

READ_BYTES = 1 << 18
# Between two pieces of a backup; a whole one may take as long as it needs.
SILENCE_S = 30.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `backup` and `restore`."""
    parser = commands.add_parser("backup", help="save everything that the cluster holds in one file")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FILE")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(backup))

    parser = commands.add_parser("restore", help="make the data directory of a new cluster from a backup")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument(
        "--data-dir", required=True, type=Path, help="the replica's raft.dataDir, still empty"
    )
    parser.add_argument("--node-id", default="cp-1", metavar="ID", help="the replica's raft.nodeId (cp-1)")
    parser.add_argument(
        "--voter",
        action="append",
        default=[],
        metavar="ID",
        help="each first voter of the new cluster; restore for all of them (default: this one alone)",
    )
    parser.add_argument("--tls-dir", type=Path, help="the replica's raft.tlsDir, with a CA of its own")
    parser.set_defaults(handler=guarded(restore))


# --- backup ----------------------------------------------------------------------------------


def backup(args: argparse.Namespace) -> int:
    path: Path = args.output
    if path.is_dir():
        raise CommandError(f"{path} is a directory; name a file")
    temporary = path.with_name(path.name + ".tmp")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            reader = SnapshotReader("the backup")

            def take(data: bytes) -> None:
                file.write(data)
                reader.feed(data)

            asyncio.run(_download(control_plane_of(args), take))
            header = reader.finish().header
            file.flush()
            os.fsync(fd)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CommandError(f"writing {path}: {error.strerror or error}") from error
    except StoreError as error:
        temporary.unlink(missing_ok=True)
        raise CommandError(f"the backup did not arrive whole ({error}): try again") from error
    except CommandError:
        temporary.unlink(missing_ok=True)
        raise
    print(f"backup at index {header.index}: {_content(header)}, {path.stat().st_size} bytes, saved in {path}")
    return 0


def _content(header: Header) -> str:
    return f"{header.records} records of cluster {header.cluster_id}"


async def _download(control_plane: ControlPlane, take: Callable[[bytes], None]) -> None:
    """Through the first replica that answers. Raises CommandError, and what `take` raises."""
    headers = dict(control_plane.headers)
    if control_plane.token:
        headers["Authorization"] = f"Bearer {control_plane.token}"
    failures: list[str] = []
    timeout = aiohttp.ClientTimeout(total=None, connect=SILENCE_S, sock_read=SILENCE_S)
    connector = aiohttp.TCPConnector(ssl=tls_context(control_plane))
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        for address in control_plane.addresses:
            begun = False
            try:
                async with session.get(address + "/cluster/backup", headers=headers) as response:
                    if response.status != 200:
                        error = from_problem(response.status, await _problem(response))
                        if response.status not in (502, 503, 504):
                            raise error
                        failures.append(f"{address}: {error}")
                        continue
                    begun = True
                    async for data in response.content.iter_chunked(READ_BYTES):
                        take(data)
                return
            except (aiohttp.ClientError, TimeoutError) as error:
                if begun:
                    raise Corrupt(f"{address}: {error or type(error).__name__}") from error
                failures.append(f"{address}: {error or type(error).__name__}")
    raise CommandError("no control plane could be reached: " + "; ".join(failures))


async def _problem(response: aiohttp.ClientResponse) -> object:
    try:
        return await response.json()
    except (ValueError, aiohttp.ClientError):
        return response.reason


# --- restore ---------------------------------------------------------------------------------


def restore(args: argparse.Namespace) -> int:
    voters = args.voter or [args.node_id]
    try:
        for node_id in (args.node_id, *voters):
            check_node_id(node_id)
        if len(voters) > 1 and args.tls_dir is None:
            raise CommandError("--tls-dir: replicas speak mutual TLS; make a new CA with `raftmesh cert ca`")
        cluster = cluster_id(args.tls_dir / CA_CERT) if args.tls_dir else args.node_id
        header = restore_store(
            args.file, args.data_dir, cluster_id=cluster, node_id=args.node_id, voters=voters
        )
    except (StoreError, OSError) as error:
        raise CommandError(str(error)) from error
    others = [voter for voter in sorted(voters) if voter != args.node_id]
    print(f"{args.data_dir} is the data of {args.node_id} at index {header.index}, {header.records} records")
    if others:
        print(
            f"restore the same file for {', '.join(others)}, with the same --voter flags, before they start"
        )
    return 0
