"""What the parts of the guard share: the core they fence, the journal, the wire, the clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from raftstore.config import RaftConfig
from raftstore.core import Core
from raftstore.guard_messages import Message
from raftstore.journal import Journal

NEVER = float("-inf")


@dataclass(slots=True)
class Port:
    """send(peer, message) puts a message on the wire as it is.

    epoch: a number that no earlier life of this node had; see guard_read.

    snapshot_needed(peer): the leader's log no longer reaches back to what `peer` needs;
    said again with each heartbeat until it has caught up.
    counts: how often each rule had something to do; for metrics and tests.
    """

    core: Core
    journal: Journal
    config: RaftConfig
    clock: Callable[[], float]
    send: Callable[[str, Message], None]
    snapshot_needed: Callable[[str], None]
    epoch: int
    counts: Counter[str] = field(default_factory=Counter)
