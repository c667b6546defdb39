"""The port through which consensus keeps its log and its vote.

The method names in camel case are pysyncobj's Journal interface (its journal.py); the
rest is what the guard needs to tell what has reached the disk. raftstore/wal is the
implementation.

*lsn* counts what was handed to the journal: each add, cut and clear takes the next
number. `durable_lsn` is the highest one that is on the platter together with all
before it. The loop learns of progress by Node.durable().
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, overload

# (payload as in entries.py, index, term)
Entry = tuple[bytes, int, int]


class Journal(Protocol):
    """Entries with consecutive indexes; never empty once a Core has opened it."""

    def __len__(self) -> int: ...

    @property
    def first_index(self) -> int: ...

    @property
    def last_index(self) -> int: ...

    def term(self, at: int, /) -> int:
        """Of the entry at list position `at`. Reading an old entry itself may take a disk."""
        ...

    def size(self, at: int, /) -> int:
        """Bytes of the payload at list position `at`."""
        ...

    def positions(self, first_byte: bytes, start: int, /) -> Sequence[int]:
        """List positions from `start` on of the payloads that begin with `first_byte`, ascending."""
        ...

    @overload
    def __getitem__(self, at: int, /) -> Entry: ...

    @overload
    def __getitem__(self, at: slice, /) -> Sequence[Entry]: ...

    def add(self, command: bytes, idx: int, term: int, /) -> None: ...

    def clear(self) -> None:
        """Void the whole log: a snapshot takes its place."""
        ...

    def deleteEntriesFrom(self, at: int, /) -> None:
        """Cut the log: entries at list position `at` and above are void."""
        ...

    def deleteEntriesTo(self, at: int, /) -> None:
        """Forget the entries below list position `at`: a snapshot covers them."""
        ...

    def setRaftCommitIndex(self, index: int, /) -> None: ...

    def getRaftCommitIndex(self) -> int:
        """At most the index of the last entry, at least 1."""
        ...

    def setCurrentTerm(self, term: int, vote: str | None, /) -> None:
        """Returns once term and vote are durable: the messages that rest on them leave next. Or at once,
        where the messages are held back until `hard_state_durable` (group_commit.ReplicaWal).

        Raises DiskFull, DiskFailed; then they are set but not durable.
        """
        ...

    def getCurrentTerm(self) -> int: ...

    def getVotedForNodeId(self) -> str | None: ...

    def onOneSecondTimer(self) -> None: ...

    @property
    def lsn(self) -> int: ...

    @property
    def durable_lsn(self) -> int: ...

    @property
    def hard_state_durable(self) -> bool:
        """Whether term and vote are on the platter: no message may leave while they are not."""
        ...

    @property
    def durable_index(self) -> int:
        """The highest index up to which the log, as it is now, is on the platter."""
        ...
