"""What a session wants done: values, so that the protocol is tested without a network."""

from __future__ import annotations

from dataclasses import dataclass

from xds.source import NodeInfo


@dataclass(frozen=True, slots=True)
class Opened:
    """The first request named its node: admit it, and connect the source of its configuration.

    resumed: the client has resources from an earlier stream, here or at another replica.
    """

    node: NodeInfo
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Write `data`, a response of type `type_url`; `names` and `removed` tell what is in it."""

    type_url: str
    nonce: str
    names: tuple[str, ...]
    removed: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Acked:
    """The client accepted a response. `elapsed` is seconds since it was sent."""

    type_url: str
    names: tuple[str, ...]
    removed: tuple[str, ...]
    elapsed: float


@dataclass(frozen=True, slots=True)
class Nacked:
    """The client rejected a response. `names` are found guilty; empty: the search goes on."""

    type_url: str
    names: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The client broke the protocol: end the stream with this gRPC status."""

    code: str
    detail: str


Effect = Opened | Send | Acked | Nacked | Refuse
