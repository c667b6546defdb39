"""The proxies that are connected to this worker, as the API shows them.

What a proxy presented when it connected, what it was sent since, and what it refuses: so
that "nothing was sent again" is a number that anybody can read.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mesh.codec import rfc3339
from xds.effects import Acked, Effect, Send
from xds.stream import Stream


def precise(seconds: float) -> str:
    """RFC 3339 with microseconds, since this one is for measuring; "" for never."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds") if seconds else ""


@dataclass(slots=True)
class Connection:
    """One stream. since_ms: Unix milliseconds. resources_sent, removed: over its whole life.

    acknowledged_s: Unix seconds of the last ACK, 0 before the first.
    """

    stream: Stream
    since_ms: int
    resources_sent: int = 0
    removed: int = 0
    responses: int = 0
    acknowledged_s: float = 0.0

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
        }


class Connections:
    """Follows every admitted stream of one worker (xds.stream.Observer)."""

    def __init__(self) -> None:
        self._open: dict[int, Connection] = {}

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._open.values()))

    def __len__(self) -> int:
        return len(self._open)

    def stream_opened(self, stream: Stream) -> None:
        self._open[stream.id] = Connection(stream, int(time.time() * 1000))

    def stream_effect(self, stream: Stream, effect: Effect) -> None:
        connection = self._open.get(stream.id)
        if connection is not None and isinstance(effect, Send):
            connection.responses += 1
            connection.resources_sent += len(effect.names)
            connection.removed += len(effect.removed)
        elif connection is not None and isinstance(effect, Acked):
            connection.acknowledged_s = time.time()

    def stream_closed(self, stream: Stream) -> None:
        self._open.pop(stream.id, None)
