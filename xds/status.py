"""What is known of a stream, for the API, the insights and the metrics: plain counters and errors."""

from __future__ import annotations

from dataclasses import dataclass, field

from xds.source import NodeInfo


@dataclass(frozen=True, slots=True)
class Rejection:
    """A resource version that the client refused, with its reason. Gone once it accepts another."""

    version: str
    message: str


@dataclass(slots=True)
class TypeStatus:
    """One resource type on one stream. rejections: the resources it refuses now, by name.

    presented: resources that the client said it has when it subscribed (it moved, or came back).
    """

    presented: int = 0
    sent: int = 0
    acked: int = 0
    rejected: int = 0
    last_error: str = ""
    ack_seconds: float = 0.0
    rejections: dict[str, Rejection] = field(default_factory=dict)


@dataclass(slots=True)
class StreamStatus:
    """One stream. Times are the session's clock (monotonic seconds)."""

    node: NodeInfo | None = None
    types: dict[str, TypeStatus] = field(default_factory=dict)

    def of(self, type_url: str) -> TypeStatus:
        """The status of a type; created on first use."""
        status = self.types.get(type_url)
        if status is None:
            status = self.types[type_url] = TypeStatus()
        return status

    @property
    def sent(self) -> int:
        return sum(status.sent for status in self.types.values())

    @property
    def acked(self) -> int:
        return sum(status.acked for status in self.types.values())

    @property
    def rejected(self) -> int:
        return sum(status.rejected for status in self.types.values())
