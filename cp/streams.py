"""The proxies that are connected to this worker, as the API shows them.

What a proxy presented when it connected, what it was sent since, and what it refuses: so
that "nothing was sent again" is a number that anybody can read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mesh.codec import rfc3339
from xds.effects import Acked, Effect, Nacked, Send
from xds.status import TypeStatus
from xds.stream import Stream


def precise(seconds: float) -> str:
    """RFC 3339 with microseconds, since this one is for measuring; "" for never."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds") if seconds else ""


@dataclass(slots=True)
class Connection:
    """One stream. since_ms: Unix milliseconds. resources_sent, removed: over its whole life.

    acknowledged_s: Unix seconds of the last ACK, 0 before the first. refused: resources at present.
    """

    stream: Stream
    since_ms: int
    resources_sent: int = 0
    removed: int = 0
    responses: int = 0
    acknowledged_s: float = 0.0
    refused: int = 0

    def document(self) -> dict[str, Any]:
        status, node = self.stream.status, self.stream.node
        rejections = [
            {"type": type_url, "name": name, "version": each.version, "message": each.message}
            for type_url, of_type in sorted(status.types.items())
            for name, each in sorted(of_type.rejections.items())
        ]
        return {
            "proxy": node.id if node else "",
            "connectedSince": rfc3339(self.since_ms),
            "subscribedTypes": len(status.types),
            "resourcesKnown": sum(of_type.presented for of_type in status.types.values()),
            "resourcesSent": self.resources_sent,
            "resourcesRemoved": self.removed,
            "responsesSent": self.responses,
            "responsesAcknowledged": status.acked,
            "lastAcknowledged": precise(self.acknowledged_s),
            "responsesRejected": status.rejected,
            "rejections": rejections,
            "types": {type_url: _counted(of_type) for type_url, of_type in sorted(status.types.items())},
        }


def _counted(status: TypeStatus) -> dict[str, Any]:
    """One xDS type of one stream. lastError: what was last rejected of it, though it may be good by now."""
    document: dict[str, Any] = {
        "responsesSent": status.sent,
        "responsesAcknowledged": status.acked,
        "responsesRejected": status.rejected,
        "acknowledgementMs": round(status.ack_seconds * 1e3, 3),
    }
    return document | ({"lastError": status.last_error} if status.last_error else {})


class Connections:
    """Follows every admitted stream of one worker (xds.stream.Observer)."""

    def __init__(self) -> None:
        self._open: dict[int, Connection] = {}
        self._by_node: dict[str, Connection] = {}
        self._changed: dict[str, None] = {}
        self._rejected: dict[str, None] = {}
        # Set when a proxy refused something, or stopped to: that is told without delay.
        self.urgent = asyncio.Event()

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def of_node(self, node_id: str) -> Connection | None:
        """The newest stream of a node."""
        return self._by_node.get(node_id)

    def take_changed(self, limit: int) -> list[str]:
        """Ids of nodes of whose streams there is news since they were taken; refusals come first."""
        self.urgent.clear()
        taken = [*self._rejected, *(each for each in self._changed if each not in self._rejected)][:limit]
        for node_id in taken:
            self._rejected.pop(node_id, None)
            self._changed.pop(node_id, None)
        return taken

    def put_back(self, node_ids: Iterable[str]) -> None:
        """Take them again the next time, if they are still here."""
        self._changed.update(dict.fromkeys(each for each in node_ids if each in self._by_node))

    def stream_opened(self, stream: Stream) -> None:
        connection = self._open[stream.id] = Connection(stream, int(time.time() * 1000))
        if stream.node is not None:
            self._by_node[stream.node.id] = connection

    def stream_effect(self, stream: Stream, effect: Effect) -> None:
        connection = self._open.get(stream.id)
        if connection is None or stream.node is None:
            return
        if isinstance(effect, Send):
            connection.responses += 1
            connection.resources_sent += len(effect.names)
            connection.removed += len(effect.removed)
        elif isinstance(effect, Acked):
            connection.acknowledged_s = time.time()
        if isinstance(effect, Acked | Nacked):
            self._note(stream.node.id, connection)

    def _note(self, node_id: str, connection: Connection) -> None:
        """Something was accepted or refused."""
        self._changed[node_id] = None
        refused = sum(len(of_type.rejections) for of_type in connection.stream.status.types.values())
        if refused != connection.refused:
            connection.refused = refused
            self._rejected[node_id] = None
            self.urgent.set()

    def stream_closed(self, stream: Stream) -> None:
        connection = self._open.pop(stream.id, None)
        if stream.node is not None and self._by_node.get(stream.node.id) is connection:
            del self._by_node[stream.node.id]
            self._changed.pop(stream.node.id, None)
            self._rejected.pop(stream.node.id, None)
