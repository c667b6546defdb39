"""What a core starts from: hooks to its owner, and a journal, a snapshot and a configuration
made to agree.

The last three are written at different moments, so a crash leaves any combination: a snapshot
newer than the log, a log that reaches behind it, a stale log that a snapshot was to replace.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from raftstore import entries
from raftstore.entries import Change
from raftstore.errors import Corrupt
from raftstore.journal import Journal


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the core asks of whoever owns it.

    send(peer, message): the core wants it sent; called inside tick() and deliver().
    may_campaign(): the election timer has run out; start an election now?
    commit_limit(): the last index that this node may count itself as holding.
    apply(index, term, payload): an entry (entries.py) is committed. Called once per index,
        in order; must not raise.
    membership_changed(): core.voters is different from before.
    disk_full(reason): term or vote could not be kept; no message may leave until they are.
    """

    send: Callable[[str, dict[str, Any]], None]
    may_campaign: Callable[[], bool]
    commit_limit: Callable[[], int]
    apply: Callable[[int, int, bytes], None]
    membership_changed: Callable[[], None]
    disk_full: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """Where a snapshot stands: the state after `index`, whose entry has `term`; who votes then."""

    index: int
    term: int
    voters: tuple[str, ...]


def align(journal: Journal, snapshot: SnapshotMeta | None) -> None:
    """Make the journal agree with the snapshot: it continues it, or starts anew right at it.

    Raises Corrupt for a gap between the two, which no crash leaves: a snapshot is durable before the log
    below it goes. So a file is lost, and what is in the log above may have been acknowledged.
    """
    covered = snapshot.index if snapshot is not None else 0
    if len(journal) and journal.first_index > covered + 1:
        what = (
            f"the newest snapshot ends at {covered}"
            if covered
            else "there is no snapshot of what came before"
        )
        raise Corrupt(
            f"the log starts at index {journal.first_index} but {what}: restore the snapshot file, "
            "or rebuild this replica with --recover-from-peers"
        )
    if snapshot is None:
        return
    if len(journal):
        first, last = journal.first_index, journal.last_index
        if first == snapshot.index + 1:
            return
        if first <= snapshot.index <= last and journal.term(snapshot.index - first) == snapshot.term:
            return
    journal.clear()
    journal.add(entries.NO_OP, snapshot.index, snapshot.term)


def voters_at_start(
    journal: Journal, snapshot: SnapshotMeta | None, configured: Collection[str]
) -> Collection[str]:
    """The membership in effect: of the last change in the log, else the snapshot's, else as configured."""
    base = snapshot.index if snapshot else 0
    changes = journal.positions(entries.MEMBERSHIP, base + 1 - journal.first_index)
    if changes:
        return Change.decode(journal[changes[-1]][0]).after
    return snapshot.voters if snapshot else configured
