"""The port through which everything else uses the log.

One protocol, two carriers: in-process (a cluster of one, the embedded default), and a
Unix socket between a replica's store process and its workers. Observers on other machines
are replicas: the log comes to them, and their workers read their own store.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from raftstore.types import FeedItem, Outcome, Txn


@dataclass(frozen=True, slots=True)
class Member:
    """One replica as this replica sees it. match_index is known on the leader only.

    wanted: what it shall become, where that is not done yet: voter or removed; else "".
    """

    id: str
    address: str
    role: str  # leader | follower | candidate | observer | removed (of itself) | unknown
    connected: bool
    match_index: int | None = None
    wanted: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """This replica's place in the cluster, at the moment of asking."""

    id: str
    cluster_id: str
    role: str
    leader: str | None
    term: int
    commit_index: int
    applied_index: int
    durable_index: int
    has_quorum: bool
    members: tuple[Member, ...]
    read_only_reason: str = ""  # e.g. "disk full"; "" when writes are possible


class Store(Protocol):
    """The log, as a client of one replica sees it. Errors: see raftstore/errors.py."""

    async def submit(self, txn: Txn, *, timeout_s: float = 5.0) -> Outcome:
        """Commit `txn` through the leader; return once it is applied on this replica.

        Raises Unavailable, UnknownOutcome, Overloaded, TooLarge.
        """
        ...

    async def read_index(self, *, timeout_s: float = 5.0) -> int:
        """An index at or above which any read of applied state is linearizable (ReadIndex)."""
        ...

    def feed(self, after: int | None = None) -> AsyncIterator[FeedItem]:
        """Applied events after index `after`; None: a snapshot first, then live events; OLDEST: a
        snapshot of an older state, and all events since that are kept.

        Raises Compacted when `after` is no longer retained.
        """
        ...

    async def status(self) -> Status: ...

    async def close(self) -> None: ...
