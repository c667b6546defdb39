"""Deliberately broken builds: each takes one rule away. The suite must catch every one.

A suite that finds nothing wrong proves little unless it finds what is wrong.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from chaos.sim.host import Build, WatchedWal
from chaos.sim.machine import ForgetsRequests, SnapshotsForgetRequests
from raftstore.errors import StoreError
from raftstore.feed import Feed, Reader
from raftstore.guard import Guard
from raftstore.guard_append import AppendGuard
from raftstore.guard_election import ElectionGuard
from raftstore.guard_messages import BadMessage, Message
from raftstore.guard_port import Port
from raftstore.guard_read import OnRead, ReadGuard
from raftstore.node import Node
from raftstore.snapshot import prune
from raftstore.wal.disk import Disk

# pysyncobj's default for leaderFallbackTimeout, in seconds.
STOCK_FALLBACK_S = 30.0


# --- no guard at all: pysyncobj's own message handling -----------------------------------


class _StockElection(ElectionGuard):
    def may_campaign(self) -> bool:
        return True


class _StockRead(ReadGuard):
    """pysyncobj has no linearizable read; its users read the leader's state."""

    def read(self, on_done: OnRead) -> None:
        on_done(self.core.commit_index if self.core.is_leader else None)


class _NoGuard(Guard):
    election_type = _StockElection
    read_type = _StockRead

    def outgoing(self, peer: str, message: Message) -> None:
        if message["type"] == "heartbeat":
            self.port.snapshot_needed(peer)
            message = {**message, "type": "append_entries", "serialized": None}
        self.port.send(peer, message)

    def incoming(self, peer: str, message: object) -> BadMessage | None:
        assert isinstance(message, dict)
        if "entries" in message:
            message["entries"] = [tuple(entry) for entry in message["entries"]]
        if message["type"] != "next_node_idx" or self.core_replicates_to(peer):
            self.port.core.deliver(peer, message)
        return None

    def core_replicates_to(self, peer: str) -> bool:
        return self.port.core.replicates_to(peer)


class StockNode(Node):
    """The core as it ships: unguarded, without durability, with its default fallback."""

    guard_type = _NoGuard

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._core._engine.conf.leaderFallbackTimeout = STOCK_FALLBACK_S

    def _commit_limit(self) -> int:
        return self._core.last_index

    def _change_refusal(self, op: str, node_id: str) -> str:
        return ""


# --- one rule less -----------------------------------------------------------------------


class _AcksBeforeSync(AppendGuard):
    def is_durable(self, index: int) -> bool:
        return True


class _NoConflictTest(AppendGuard):
    def only_what_is_new(self, message: Message) -> tuple[Message, int | None]:
        return message, None


class _NoTermInAcks(AppendGuard):
    def receive_reply(self, peer: str, message: Message) -> BadMessage | None:
        return super().receive_reply(peer, {**message, "term": self.core.term})


class _EchoesCount(AppendGuard):
    """A reply proves that its sender lives when it arrives, however long it travelled."""

    def _evidence(self, peer: str, q: int) -> float:
        return self.port.clock()


class _NoPreVote(ElectionGuard):
    def may_campaign(self) -> bool:
        return True

    def _loyal(self) -> bool:
        return False


class _NoReadQuorum(ReadGuard):
    def read(self, on_done: OnRead) -> None:
        if self.core.is_leader:
            on_done(self.core.commit_index)
        else:
            super().read(on_done)


class _ReadNumbersRepeat(ReadGuard):
    def __init__(self, port: Port) -> None:
        super().__init__(port)
        self._number = 0


def _with(
    append: type[AppendGuard] = AppendGuard,
    election: type[ElectionGuard] = ElectionGuard,
    read: type[ReadGuard] = ReadGuard,
) -> type[Node]:
    class BrokenGuard(Guard):
        append_type = append
        election_type = election
        read_type = read

    class BrokenNode(Node):
        guard_type = BrokenGuard

    return BrokenNode


class _LeaderCountsUnsynced(Node):
    def _commit_limit(self) -> int:
        return self._core.last_index


class _CommitsWhileSteppingDown(Node):
    """Only who still leads at the end of a tick is held back to what its disk holds."""

    def _commit_limit(self) -> int:
        return super()._commit_limit() if self.is_leader else self.last_index


class _TwoChangesAtOnce(Node):
    def _change_refusal(self, op: str, node_id: str) -> str:
        return ""


class _NoCheckQuorum(Node):
    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._core._engine.conf.leaderFallbackTimeout = STOCK_FALLBACK_S


class _VoteNotDurable(WatchedWal):
    """Messages that show a term or a vote do not wait for the disk."""

    @property
    def hard_state_durable(self) -> bool:
        return True


class _ResumesAtHead(Feed):
    """A watch that is resumed goes on with what comes next, wherever it had been."""

    def reader(self, after: int | None = None) -> Reader:
        if after is None:
            return super().reader()
        return Reader(self, self._nodes[-1], after)


class _SkipsOnOverload(Feed):
    """A reader that is too slow finds itself at the oldest commit that is left, as a bounded queue does."""

    def _drop(self, count: int, onward: Any = None) -> None:
        super()._drop(
            count, onward or self._nodes[min(self._first + max(0, count) + 1, len(self._nodes) - 1)]
        )


def _prune_all(disk: Disk, spare: Collection[str] = ()) -> None:
    """Also the file that a snapshot is being written to."""
    prune(disk)


STOCK = Build("guard-off", node=StockNode)
BROKEN: tuple[Build, ...] = (
    STOCK,
    Build("acknowledge-before-fsync", node=_with(append=_AcksBeforeSync)),
    Build("leader-counts-what-is-not-on-disk", node=_LeaderCountsUnsynced),
    Build("vote-not-durable", wal=_VoteNotDurable),
    Build("no-term-in-acknowledgements", node=_with(append=_NoTermInAcks)),
    Build("request-id-table-dropped", machine=ForgetsRequests),
    Build("resume-by-head-only", feed=_ResumesAtHead),
    Build("watch-skips-on-overload", feed=_SkipsOnOverload),
    Build("stale-read-served-as-linearizable", node=_with(read=_NoReadQuorum)),
    Build("no-conflict-test", node=_with(append=_NoConflictTest)),
    Build("snapshots-forget-requests", machine=SnapshotsForgetRequests),
    Build("read-numbers-repeat", node=_with(read=_ReadNumbersRepeat)),
    Build("two-changes-at-once", node=_TwoChangesAtOnce),
    Build("no-pre-vote", node=_with(election=_NoPreVote)),
    Build("no-check-quorum", node=_NoCheckQuorum),
    Build("echoes-count-for-a-quorum", node=_with(append=_EchoesCount)),
    Build("commits-while-stepping-down", node=_CommitsWhileSteppingDown),
    Build("prunes-a-snapshot-that-is-being-written", prune=_prune_all),
)


def by_name(name: str) -> Build:
    """Raises StoreError for an unknown name, with the known ones."""
    for build in BROKEN:
        if build.name == name:
            return build
    raise StoreError(f"no broken build {name!r}; there are {', '.join(b.name for b in BROKEN)}")
