"""`raftmesh watch`: what changes, as it changes; one JSON object per line."""

from __future__ import annotations

import argparse
import asyncio
import sys

from cp.cli.common import add_connection_flags, control_plane_of, guarded, kind_of, path_of
from cp.cli.following import Follower


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("watch", help="print changes as they happen, one JSON object per line")
    parser.add_argument("type", metavar="KIND", nargs="?", default="", help="(default: everything)")
    parser.add_argument("name", metavar="NAME", nargs="?", default="")
    parser.add_argument("-m", "--mesh", default="", help="without KIND: everything in it (default: all)")
    parser.add_argument("--since", default="", metavar="INDEX|TIME", help="only what is later")
    parser.add_argument("--count", type=int, default=0, metavar="N", help="end after so many lines")
    add_connection_flags(parser)
    parser.set_defaults(handler=guarded(handle))


def handle(args: argparse.Namespace) -> int:
    params = {"since": args.since} if args.since else {}
    if args.type:
        path = path_of(kind_of(args.type), args.mesh or "default", args.name)
    else:
        path = "/history"
        params |= {"mesh": args.mesh} if args.mesh else {}
    asyncio.run(_watch(Follower(control_plane_of(args), path, params), args.count))
    return 0


async def _watch(follower: Follower, count: int) -> None:
    printed = 0
    async for message in follower.messages():
        sys.stdout.write(message.data + "\n")
        sys.stdout.flush()
        printed += 1
        if printed == count:
            return
