"""The log as a replica holds it, read over the socket of its store process.

    python -m chaos.truth --after N --upto M      one commit a line, as JSON

Watches are served from the view of a worker, which begins anew with the worker; the store
has the whole log. So what the clients were told is judged by this.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from msgspec.structs import asdict, replace

from chaos.history import told_by_log
from raftstore.client import SocketStore
from raftstore.errors import Compacted, StoreError
from raftstore.types import Bookmark, Commit, Event, Key, Op

READ_S = 60.0


def sockets(directory: Path) -> list[Path]:
    """The sockets of stores whose replica keeps its run directory there, newest first."""
    found = [path for path in directory.glob("raftmesh-*/store.sock") if path.is_socket()]
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


async def read_log(directory: Path, after: int, upto: int) -> list[Commit] | None:
    """The commits of (after, upto]; None when this replica has no longer all of them."""
    for path in sockets(directory)[:1]:
        store = SocketStore(str(path))
        found = []
        try:
            async with asyncio.timeout(READ_S):
                async for item in store.feed(after):
                    if isinstance(item, Commit) and item.index <= upto and (told := told_by_log(item)):
                        found.append(told)
                    if isinstance(item, Commit | Bookmark) and item.index >= upto:
                        return found
        except (Compacted, StoreError, TimeoutError):
            return None
        finally:
            await store.close()
    return None


def to_lines(commits: Iterable[Commit]) -> list[str]:
    return [json.dumps([_plain(event) for event in commit.events]) for commit in commits]


def from_lines(lines: Iterable[str]) -> list[Commit]:
    found = []
    for line in lines:
        events = tuple(_event(each) for each in json.loads(line))
        found.append(Commit(events[0].index, events))
    return found


def _plain(event: Event) -> dict[str, object]:
    value = None if event.value is None else event.value.decode()
    return asdict(replace(event, value=None)) | {"value": value}


def _event(plain: dict[str, object]) -> Event:
    value = plain["value"]
    key = plain["key"]
    assert isinstance(key, list) and (value is None or isinstance(value, str))
    changed = {
        "key": Key(*key),
        "op": Op(str(plain["op"])),
        "value": value.encode() if value is not None else None,
    }
    return Event(**{**plain, **changed})  # type: ignore[arg-type]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.truth")
    parser.add_argument("--after", type=int, required=True)
    parser.add_argument("--upto", type=int, required=True)
    parser.add_argument("--dir", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    commits = asyncio.run(read_log(options.dir, options.after, options.upto))
    if commits is None:
        print("this replica does not have the whole log of that range", file=sys.stderr)
        return 1
    sys.stdout.writelines(line + "\n" for line in to_lines(commits))
    return 0


if __name__ == "__main__":
    sys.exit(main())
