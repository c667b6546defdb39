"""`raftmesh watch`: what changes, as it changes; one JSON object per line."""

from __future__ import annotations

import argparse
import asyncio
import sys

import aiohttp

from cp.cli.client import tls_context
from cp.cli.common import add_connection_flags, control_plane_of, guarded, kind_of, path_of
from cp.cli.contexts import ControlPlane
from cp.cli.errors import CommandError, from_problem

LINE_BYTES_MAX = 64 << 20  # one commit is one line
SILENCE_S = 60.0  # idle streams carry bookmarks more often than that


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("watch", help="print changes as they happen, one JSON object per line")
    parser.add_argument("type", metavar="KIND", nargs="?", default="", help="(default: everything)")
    parser.add_argument("name", metavar="NAME", nargs="?", default="")
    parser.add_argument("-m", "--mesh", default="default")
    parser.add_argument("--since", default="", metavar="INDEX", help="only what is later")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after so many lines")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    path = path_of(kind_of(args.type), args.mesh, args.name) if args.type else "/history"
    params = {"watch": "true"} | ({"since": args.since} if args.since else {})
    asyncio.run(_watch(control_plane_of(args), path, params, args.count))
    return 0


async def _watch(control_plane: ControlPlane, path: str, params: dict[str, str], count: int) -> None:
    """Goes on through another replica, after the last index, when a connection breaks."""
    headers = dict(control_plane.headers)
    if control_plane.token:
        headers["Authorization"] = f"Bearer {control_plane.token}"
    timeout = aiohttp.ClientTimeout(total=None, connect=10.0, sock_read=SILENCE_S)
    connector = aiohttp.TCPConnector(ssl=tls_context(control_plane))
    failures: list[str] = []
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, read_bufsize=LINE_BYTES_MAX
    ) as session:
        for address in control_plane.addresses:
            try:
                async with session.get(address + path, params=params) as response:
                    if response.status != 200:
                        raise from_problem(response.status, await response.json())
                    if await _print_stream(response.content, params, count):
                        return
                failures.append(f"{address}: the stream ended")
            except (aiohttp.ClientError, TimeoutError) as error:
                failures.append(f"{address}: {error or type(error).__name__}")
    raise CommandError("no control plane is left to watch: " + "; ".join(failures))


async def _print_stream(content: aiohttp.StreamReader, params: dict[str, str], count: int) -> bool:
    """Whether as many lines were printed as were asked for. Notes in `params` how far it came."""
    event, index, printed = "", "", 0
    async for line in content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "event":
            event = value
        elif name == "id":
            index = value
        elif name == "data" and event == "compacted":
            raise CommandError("what came after --since is no longer kept; start without it")
        elif name == "data" and event != "bookmark":
            sys.stdout.write(value + "\n")
            sys.stdout.flush()
            printed += 1
            if event == "commit":  # after a part of a snapshot, only a new snapshot is whole
                params["since"] = index
            if printed == count:
                return True
    return False
