"""A watch over HTTP, from replica to replica: what one subscriber got, in order.

Server-sent events are turned into feed items. When a stream breaks, the next replica is
asked to go on after the last index; where that is compacted, for a new snapshot that is
not older than what was seen.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp

from chaos.history import MESH, PLURAL, Unforeseen, key_of, told_by_watch, value_of
from raftstore.guarantees import Violation
from raftstore.types import (
    Bookmark,
    FeedItem,
    Record,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
)

SILENCE_S = 15.0  # a bookmark comes each 10 s
RETRY_S = 0.1
MESSAGE_BYTES_MAX = 16 << 20


class Watcher:
    """Follows all resources of our kind from index `after` on. `items` is what it got."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str], after: int) -> None:
        self.items: list[FeedItem] = []
        self.position = after
        self.resumed = 0
        self.found: list[Violation] = []
        self._session = session
        self._urls = urls
        self._anew = False

    async def run(self) -> None:
        """Until cancelled."""
        turn = 0
        while True:
            try:
                async for event, body in self._stream(self._urls[turn % len(self._urls)]):
                    self._take(event, body)
                    if self._anew:
                        break
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # the replica is away: the next one goes on where this one ended
            turn += 1
            self.resumed += 1
            await asyncio.sleep(RETRY_S)

    async def _stream(self, url: str) -> AsyncIterator[tuple[str, Any]]:
        """The messages of one stream: (event, body)."""
        query = {"watch": "true"} if self._anew else {"watch": "true", "since": str(self.position)}
        headers = {"X-Raftmesh-Min-Index": str(self.position)} if self._anew else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=2.0, sock_read=SILENCE_S)
        path = f"{url}/meshes/{MESH}/{PLURAL}"
        async with self._session.get(path, params=query, headers=headers, timeout=timeout) as response:
            if response.status == 410:
                self._anew = True
            elif response.status == 200:
                async for message in _messages(response):
                    yield message
            elif response.status not in (404, 429, 503):  # 404: a view without meshes, it has just started
                self.found.append(Unforeseen(f"a watch was answered {response.status}"))

    def _take(self, event: str, body: Any) -> None:
        if event == "commit":
            self.items.append(told_by_watch(body))
        elif event == "bookmark":
            self.items.append(Bookmark(body["index"]))
        elif event == "compacted":
            self._anew = True
            return
        elif event == "snapshot":
            self._snapshot(body)
        else:
            self.found.append(Unforeseen(f"a watch sent the unknown event {event!r}"))
        self.position = max(self.position, body["index"])

    def _snapshot(self, body: Any) -> None:
        """One message of a snapshot; its size is told by its last one only."""
        index = body["index"]
        records = tuple(
            Record(key_of(item["name"]), value_of(item).encode(), 0, 0, 0) for item in body["items"]
        )
        if self.items and isinstance(self.items[-1], SnapshotChunk):
            start = next(i for i in reversed(self.items) if isinstance(i, SnapshotStart))
            self.items[self.items.index(start)] = SnapshotStart(index, start.records + len(records))
        else:
            self.items.append(SnapshotStart(index, len(records)))
        self.items.append(SnapshotChunk(records))
        if body["last"]:
            self.items.append(SnapshotEnd(index))
            self._anew = False


async def _messages(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    waiting = b""
    async for chunk in response.content.iter_any():
        *whole, waiting = (waiting + chunk).split(b"\n\n")
        if len(waiting) > MESSAGE_BYTES_MAX:
            raise aiohttp.ClientPayloadError(f"a message of more than {MESSAGE_BYTES_MAX} bytes")
        for message in whole:
            lines = message.decode().splitlines()
            fields = dict(line.partition(": ")[::2] for line in lines)
            yield fields["event"], json.loads(fields["data"])
