"""The store's promises as validators: a recorded history in, silence or one named error out.

docs/guarantees.md states each promise in prose under the same name; this module says what
breaks it. The validators are pure and judge histories from anywhere: unit tests,
simulation, real processes under faults. (Linearizable is a search over overlapping calls;
the history checker of `chaos` decides it.)

    watch histories   what one subscriber got, in order: a list of FeedItem
    Acked             one transaction that a client was told the outcome of
    ReadAt            one read that carried the index of a write
    Digest            one replica's state at an index
    Served, CutOff    what a replica did for a client, and when it reached no quorum

The judges do not share code with what they judge.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from raftstore.types import (
    Bookmark,
    Commit,
    Event,
    FeedItem,
    Key,
    Op,
    Outcome,
    SnapshotChunk,
    SnapshotEnd,
    SnapshotStart,
)


class Violation(AssertionError):
    """A promise was broken. The class names the promise, the message the evidence."""


class Durable(Violation):
    """An acknowledged write is not in the log that survived."""


class ExactlyOnce(Violation):
    """One request id took effect more than once, or was answered in two ways."""


class ReadYourWrites(Violation):
    """A read that carried a write's index did not see it."""


class Ordered(Violation):
    """A watcher got a smaller index after a larger one."""


class Unique(Violation):
    """A watcher got the same index twice."""


class Atomic(Violation):
    """A watcher got a part of an index's events, or two indexes in one commit."""


class Reliable(Violation):
    """A watcher is missing an event that lies below its position."""


class Resumable(Violation):
    """Resuming after an index gave something else than staying would have given."""


class Bookmarkable(Violation):
    """A bookmark promised what is not so."""


class Convergent(Violation):
    """Two replicas differ at the same index."""


class Fenced(Violation):
    """A replica without a quorum took a write, or served a linearizable read."""


@dataclass(frozen=True, slots=True)
class Acked:
    """A transaction of a client: its request id, what it was told, and its Puts and Deletes.

    A value of None stands for a Delete. Leave `writes` empty for one with a DeleteScope.
    """

    request_id: str
    outcome: Outcome
    writes: tuple[tuple[Key, bytes | None], ...] = ()


@dataclass(frozen=True, slots=True)
class ReadAt:
    """A read of `key` on `replica`, carrying `after` (the index of a write); `version` was found."""

    replica: str
    key: Key
    after: int
    version: int


@dataclass(frozen=True, slots=True)
class Digest:
    """What `replica` stood at: State.digest() at `index`."""

    replica: str
    index: int
    digest: str


@dataclass(frozen=True, slots=True)
class Served:
    """A write that `replica` acknowledged, or a linearizable read that it answered: `what` it was,
    when it was asked for and when it was answered, in seconds of one clock."""

    replica: str
    what: str
    asked_s: float
    answered_s: float


@dataclass(frozen=True, slots=True)
class CutOff:
    """`replica` reached no quorum from `since_s` until `until_s`, by the same clock."""

    replica: str
    since_s: float
    until_s: float


def commits(items: Iterable[FeedItem]) -> list[Commit]:
    return [item for item in items if isinstance(item, Commit)]


# --- of writes ---------------------------------------------------------------------------


def check_durable(acked: Iterable[Acked], log: Iterable[Commit]) -> None:
    """Every acknowledged write is in the log, at the index that the client was told."""
    by_index: dict[int, list[Event]] = {}
    for commit in log:
        by_index.setdefault(commit.index, []).extend(commit.events)
    for ack in acked:
        if not ack.outcome.applied:
            continue
        held = [
            (event.key, event.value)
            for event in by_index.get(ack.outcome.index, [])
            if event.request_id == ack.request_id
        ]
        for key, value in ack.writes:
            if value is not None and (key, value) not in held:
                raise Durable(
                    f"request {ack.request_id!r} was acknowledged at index {ack.outcome.index}, "
                    f"but its write of {'/'.join(key)} is not there"
                )


def check_exactly_once(acked: Iterable[Acked], log: Iterable[Commit]) -> None:
    """Each request id has events at one index only, each answer to it is the same, and is that index."""
    effects: dict[str, int] = {}
    made: Counter[str] = Counter()
    for commit in log:
        for event in commit.events:
            first = effects.setdefault(event.request_id, commit.index)
            if event.request_id and first != commit.index:
                raise ExactlyOnce(
                    f"request {event.request_id!r} took effect at {first} and at {commit.index}"
                )
            made[event.request_id] += 1
    answers: dict[str, Outcome] = {}
    for ack in acked:
        if answers.setdefault(ack.request_id, ack.outcome) != ack.outcome:
            raise ExactlyOnce(
                f"request {ack.request_id!r} was answered {answers[ack.request_id]} and {ack.outcome}"
            )
        at = effects.get(ack.request_id)
        if at is not None and (not ack.outcome.applied or ack.outcome.index != at):
            raise ExactlyOnce(f"request {ack.request_id!r} took effect at {at}, the answer was {ack.outcome}")
        if ack.writes and made[ack.request_id] > len(ack.writes):
            raise ExactlyOnce(
                f"request {ack.request_id!r} made {made[ack.request_id]} events of {len(ack.writes)} writes"
            )


def check_read_your_writes(reads: Iterable[ReadAt], log: Iterable[Commit]) -> None:
    """A read that carries index n finds what stood at n, or something newer."""
    versions: dict[Key, list[tuple[int, int]]] = {}  # (index, version from there on)
    end = 0
    for commit in log:
        end = max(end, commit.index)
        for event in commit.events:
            version = commit.index if event.op is Op.PUT else 0
            versions.setdefault(event.key, []).append((commit.index, version))
    for read in reads:
        history = versions.get(read.key, [])
        at = bisect_right(history, read.after, key=lambda change: change[0])
        stood = history[at - 1][1] if at else 0
        newer = {version for _, version in history[at:]}
        if read.version != stood and read.version not in newer and read.version <= end:
            raise ReadYourWrites(
                f"{read.replica} answered a read of {'/'.join(read.key)} after index {read.after} "
                f"with version {read.version}; there it was {stood}"
            )


# --- of watches --------------------------------------------------------------------------


def check_ordered(items: Iterable[FeedItem]) -> None:
    """Positions never go back, except to a snapshot's start, which may not go back either."""
    position = 0
    for item in items:
        if isinstance(item, SnapshotChunk):
            continue
        if item.index < position:
            raise Ordered(f"{type(item).__name__} {item.index} came after index {position}")
        position = item.index


def check_unique(items: Iterable[FeedItem]) -> None:
    """No commit comes twice, nor one that the snapshot before it holds already."""
    seen: set[int] = set()
    floor = 0
    for item in items:
        if isinstance(item, SnapshotEnd):
            floor = item.index
        elif isinstance(item, Commit):
            if item.index in seen or item.index <= floor:
                raise Unique(f"commit {item.index} came twice")
            seen.add(item.index)


def check_atomic(items: Iterable[FeedItem], log: Iterable[Commit]) -> None:
    """Each commit holds all events of its index, in the log's order, and snapshots are whole."""
    truth = {commit.index: commit.events for commit in log}
    missing: int | None = None
    for item in items:
        if isinstance(item, Commit):
            strangers = {event.index for event in item.events} - {item.index}
            if strangers:
                raise Atomic(f"commit {item.index} holds events of index {min(strangers)}")
            if item.events != truth.get(item.index, item.events):
                held, whole = len(item.events), len(truth[item.index])
                raise Atomic(f"commit {item.index} came with {held} events, the log has {whole}")
        missing = _follow_snapshot(item, missing)


def _follow_snapshot(item: FeedItem, missing: int | None) -> int | None:
    """How many records the snapshot under way still lacks; None outside of one."""
    if isinstance(item, SnapshotStart):
        return item.records
    if missing is None:
        if isinstance(item, SnapshotChunk | SnapshotEnd):
            raise Atomic(f"{type(item).__name__} came outside of a snapshot")
        return None
    if isinstance(item, SnapshotChunk):
        return missing - len(item.records)
    if not isinstance(item, SnapshotEnd):
        raise Atomic(f"{type(item).__name__} {item.index} came within a snapshot")
    if missing != 0:
        raise Atomic(f"the snapshot at {item.index} ended {missing} records short")
    return None


def check_reliable(items: Sequence[FeedItem], log: Iterable[Commit], after: int = 0) -> None:
    """Every commit of the log between start and final position was delivered, and no other."""
    log = list(log)
    got = {commit.index for commit in commits(items)}
    invented = got - {commit.index for commit in log}
    if invented:
        raise Reliable(f"commit {min(invented)} was delivered, but is not in the log")
    position, covered = after, after
    for item in items:
        if isinstance(item, SnapshotEnd):
            position = covered = max(covered, item.index)
        elif isinstance(item, Commit | Bookmark):
            position = max(position, item.index)
    for commit in log:
        if covered < commit.index <= position and commit.index not in got:
            raise Reliable(f"commit {commit.index} is missing; the watcher stands at {position}")


def check_resumable(resumed: Sequence[FeedItem], log: Iterable[Commit], after: int) -> None:
    """A watch resumed after `after` begins with the first commit above it, and goes on with the next."""
    expected = [commit.index for commit in log if commit.index > after]
    if any(isinstance(item, SnapshotStart) for item in resumed):
        return  # the store itself jumped; Ordered, Reliable and Atomic judge the rest
    got = [commit.index for commit in commits(resumed)]
    if got != expected[: len(got)]:
        at = next(n for n, index in enumerate(got) if expected[n : n + 1] != [index])
        wanted = expected[at] if at < len(expected) else "nothing"
        raise Resumable(f"resumed after {after}: got commit {got[at]} where {wanted} was due")


def check_bookmarkable(items: Iterable[FeedItem], log: Sequence[Commit], after: int = 0) -> None:
    """At a bookmark, everything up to its index was delivered before it."""
    position = after
    got: set[int] = set()
    for item in items:
        if isinstance(item, SnapshotEnd):
            position = item.index
        elif isinstance(item, Commit):
            got.add(item.index)
        elif isinstance(item, Bookmark):
            lacking = [c.index for c in log if position < c.index <= item.index and c.index not in got]
            if lacking:
                raise Bookmarkable(f"bookmark {item.index} came before commit {lacking[0]}")


# --- of replicas -------------------------------------------------------------------------


def check_convergent(digests: Iterable[Digest]) -> None:
    """Equal index, equal digest."""
    first: dict[int, Digest] = {}
    for found in digests:
        other = first.setdefault(found.index, found)
        if other.digest != found.digest:
            raise Convergent(
                f"{other.replica} and {found.replica} differ at index {found.index}: "
                f"{other.digest} and {found.digest}"
            )


def check_fenced(served: Iterable[Served], cuts: Iterable[CutOff], timeout_s: float) -> None:
    """What was asked of a replica `timeout_s` (an election timeout) after it lost its quorum was not
    served before it had one again."""
    cuts = list(cuts)
    for each in served:
        for cut in cuts:
            if (
                each.replica == cut.replica
                and each.asked_s >= cut.since_s + timeout_s
                and each.answered_s < cut.until_s
            ):
                raise Fenced(
                    f"{each.replica} had no quorum for {each.asked_s - cut.since_s:.2f} s when it was asked, "
                    f"and served {each.what}"
                )


def check_watch(items: Sequence[FeedItem], log: Sequence[Commit], after: int = 0) -> None:
    """All promises of one watch at once. Raises the first that is broken."""
    check_ordered(items)
    check_unique(items)
    check_atomic(items, log)
    check_reliable(items, log, after)
    check_bookmarkable(items, log, after)


PROMISES: Mapping[str, type[Violation]] = {kind.__name__: kind for kind in Violation.__subclasses__()}
