"""The seam between the ADS server and whoever derives the configuration of a proxy.

The server (xds/server.py) authenticates a stream, then calls `ConfigSource.connect` once, with
what the first request said of the node. The source answers with a handle, and calls `on_change`
on the event loop whenever what the proxy should have changes. Both sides are synchronous: the
derivation decides when to run, the stream decides what of it to send and when.

Two rules keep a lagging replica from breaking a proxy:

- `snapshot()` is None until the source knows the proxy (its Dataplane has not reached this
  replica's view yet, or the first derivation still runs). The stream then answers nothing. An
  empty mapping, on the contrary, is a statement: the proxy should have nothing, and a client that
  reconnects with resources is told to remove them.
- when `on_change(deltas)` is called, `snapshot()` already includes those deltas, and it is what counts:
  the deltas name all that changed, but what one group of resources lets go of may still be there as
  part of another. The first call after a None snapshot may carry no deltas at all: it says that the
  snapshot is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from xds.types import Delta, Snapshot


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a client says of itself on the first request of a stream.

    id: "<mesh>.<name>" for a dataplane, ".<name>" for a zone proxy.
    cluster: the service name of the node, as set in the bootstrap.
    metadata: Node.metadata as JSON values, e.g. {"dataplane.proxyType": "ingress", ...}.
    version: Envoy's version, "1.40.0", or "" when the client does not tell.
    """

    id: str
    cluster: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


OnChange = Callable[[Sequence[Delta]], None]


class ProxyHandle(Protocol):
    """One connected proxy, as its source sees it."""

    def snapshot(self) -> Snapshot | None:
        """Everything the proxy should have now; None while that is not known yet."""

    def close(self) -> None:
        """The stream ended: `on_change` is not called again. Idempotent."""


class ConfigSource(Protocol):
    """Derives what each proxy should have."""

    def connect(self, node: NodeInfo, on_change: OnChange) -> ProxyHandle:
        """Start to follow the configuration of `node`. Must not call `on_change` before it returns."""


class Refused(Exception):
    """A stream is not admitted. `code` is a gRPC status name, `detail` goes to the client."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class Admission(Protocol):
    """Decides who may open a stream, and prepares for it (e.g. registers the proxy)."""

    async def admit(self, node: NodeInfo, headers: Mapping[str, str]) -> None:
        """Return to admit; raise Refused("UNAUTHENTICATED", "...") otherwise.

        headers: the call's initial metadata, lower-case names; the token is in "authorization".
        Called before `ConfigSource.connect`, once per stream.
        """


class OpenDoor:
    """Admits everyone: tests, and control planes configured with authentication type `none`."""

    async def admit(self, node: NodeInfo, headers: Mapping[str, str]) -> None:
        return None
