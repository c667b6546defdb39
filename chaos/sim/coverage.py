"""What random schedules must come to, counted: a generator that no longer gets somewhere proves nothing about it.

Each place is counted where it happens. `make sim` prints the counts, and fails when, over many
schedules, one of them is nought: then a change of the generator, or of what it drives, has taken
something from under the checkers without anybody noticing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

# So many schedules reach every place: the rarest is met by one in 65 of them.
ENOUGH_SCHEDULES = 600


class Reached(StrEnum):
    """The places, by what is printed of them."""

    # Votes and messages, which wait for the disk.
    MESSAGES_WAIT = "messages wait until term and vote are durable"
    VOTE_LOST = "a vote is lost that was not durable yet"
    # Elections.
    HANDED_OVER = "leadership is handed over"
    FENCED = "a leader without a quorum steps down"
    FULL_STEPS_DOWN = "a leader whose disk is full steps down"
    STALLED_STEPS_DOWN = "a leader whose disk stalls steps down"
    # Logs.
    TAIL_CUT = "a conflicting tail is cut"
    TORN_TAIL = "a torn tail is found and cut at a start"
    REUSED = "a log segment is used again"
    REUSED_TORN = "a write over a segment that is used again is torn by a power cut"
    LOST_AT_APPEND = "power is lost at an append to the log"
    LOST_AT_OVERWRITE = "power is lost at a write over a segment that is used again"
    LOST_AT_WIPE = "power is lost while a segment is wiped"
    LOST_AT_SYNC = "power is lost between write and sync"
    LOST_AT_NAMES = "power is lost while a file is renamed or removed"
    LOST_AT_SNAPSHOT = "power is lost while a snapshot is written"
    LOST_AT_START = "power is lost while a replica starts"
    LOST_AT_MESSAGE = "power is lost between two messages"
    # Snapshots.
    SNAPSHOT_MADE = "a snapshot is made"
    SNAPSHOT_FULL = "a snapshot is given up for want of room"
    SNAPSHOT_OVERTAKEN = "a snapshot that is being made is overtaken by the leader's"
    SHIPPED = "a snapshot is installed"
    SHIPPED_OBSERVER = "a snapshot is installed on an observer"
    SHIPPED_BY_DEPOSED = "a snapshot arrives of who does not lead any more"
    SHIPPED_LATE = "a snapshot arrives of what is known already"
    SHIPPING_BROKEN = "a snapshot is lost on its way"
    # Members.
    VOTER_ADDED = "a voter is added"
    VOTER_REMOVED = "a voter is removed"
    CHANGE_REFUSED = "a membership change is refused"
    CHANGE_LOST = "a membership change is undone, or nobody knows what became of it"
    CHANGE_INHERITED = "a new leader inherits a membership change that is not committed"
    SET_ASIDE = "a rotten log is set aside"
    READMITTED = "a replica that lost its log is readmitted"
    READMITTED_LATER = "a replica that lost its log is readmitted in a later term"
    # Clients.
    READ_AT_FOLLOWER = "a linearizable read is answered by a follower"
    READ_AT_OBSERVER = "a linearizable read is answered by an observer"
    RETRY_REMEMBERED = "a retry gets the outcome of the first try"
    GUARD_REFUSES = "a guard refuses a write"
    WATCH_MOVES = "a watch is resumed at another replica"
    WATCH_COMPACTED = "a watch begins anew, as what it wants next is compacted"


Coverage = Counter[Reached]


def table(reached: Mapping[Reached, int]) -> list[str]:
    """One line per place."""
    return [f"{reached.get(place, 0):8}  {place}" for place in Reached]


def missing(reached: Mapping[Reached, int]) -> list[Reached]:
    return [place for place in Reached if not reached.get(place, 0)]
