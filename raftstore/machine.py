"""The state machine: one log entry in, outcomes and events out.

Pure and deterministic: what `apply` does follows from the state and the entry's bytes
alone, never from a clock, a configuration or a limit that another release might set
otherwise. It raises on no bytes whatever: an entry that is not understood has no effect
and is counted, the same on each replica.

Exactly once: each request id is remembered with its first outcome; a repetition, in
another entry or in the same one, gets that outcome and changes nothing (Ongaro's thesis,
section 6.3). The memory is bounded by count and by age in *log time*, the highest time
stamp of the entries so far, and is part of the state: REQUESTS_* of limits.py are
thus part of the log's format.
"""

from __future__ import annotations

from dataclasses import dataclass

from raftstore import limits
from raftstore.codec import Batch, CodecError, decode_batch
from raftstore.state import RecordsEdit, RequestsEdit, State
from raftstore.types import (
    Absent,
    AbsentScope,
    Delete,
    Event,
    Exists,
    Guard,
    Key,
    Op,
    Outcome,
    Put,
    Record,
    Txn,
    VersionIs,
)

# Outcome.failed_guard of a transaction that could not be decoded.
NOT_UNDERSTOOD = -1


@dataclass(frozen=True, slots=True)
class Applied:
    """What one entry did. outcomes[i] and request_ids[i] belong to its i-th transaction.

    An event's index is the entry's. `events` holds those of all its transactions, in
    order; it is one Commit of the feed, or none when empty.
    """

    index: int
    outcomes: tuple[Outcome, ...] = ()
    events: tuple[Event, ...] = ()
    request_ids: tuple[str, ...] = ()


class StateMachine:
    """Holds the current state. `rejected` counts entries and transactions not understood,
    `repeated` entries that were offered again, `duplicates` requests answered from memory."""

    def __init__(self, state: State = State()) -> None:
        self.state = state
        self.rejected = 0
        self.repeated = 0
        self.duplicates = 0

    def apply(self, index: int, term: int, command: bytes) -> Applied:
        """Apply the entry at `index`. An index at or below the state's has no effect."""
        if index <= self.state.index:
            self.repeated += 1
            return Applied(index)
        try:
            batch = decode_batch(command)
        except CodecError:
            self.rejected += 1
            self.state = self.state.at(index, term)
            return Applied(index)
        work = _Work(self.state, index, term, batch.time_ms)
        applied = work.run(batch)
        self.state = work.state()
        self.rejected += work.rejected
        self.duplicates += work.duplicates
        return applied


class _Work:
    """One entry being applied. The machine's state is untouched until it is done."""

    def __init__(self, state: State, index: int, term: int, time_ms: int) -> None:
        self.index, self.term, self.time_ms = index, term, time_ms
        self.log_time_ms = max(state.log_time_ms, time_ms)
        self.records = RecordsEdit(state.records)
        self.requests = RequestsEdit(state.requests)
        self.events: list[Event] = []
        self.rejected = 0
        self.duplicates = 0
        self._applied = Outcome(index)  # of every transaction that none of its guards stops

    def state(self) -> State:
        """To be called once, at the end."""
        requests = self.requests.done().forget(
            self.log_time_ms,
            count_min=limits.REQUESTS_REMEMBERED_MIN,
            count_max=limits.REQUESTS_REMEMBERED_MAX,
            age_ms_max=limits.REQUESTS_REMEMBERED_MS,
        )
        return State(self.index, self.term, self.log_time_ms, self.records.done(), requests)

    def run(self, batch: Batch) -> Applied:
        outcomes = tuple([self._once(txn) for txn in batch.txns])
        request_ids = tuple([txn.request_id if txn is not None else "" for txn in batch.txns])
        return Applied(self.index, outcomes, tuple(self.events), request_ids)

    def _once(self, txn: Txn | None) -> Outcome:
        if txn is None:
            self.rejected += 1
            return Outcome(self.index, NOT_UNDERSTOOD)
        if not txn.request_id:
            return self._decide(txn)
        first = self.requests.get(txn.request_id)
        if first is not None:
            self.duplicates += 1
            return first
        outcome = self._decide(txn)
        self.requests.add(txn.request_id, outcome, self.log_time_ms)
        return outcome

    def _decide(self, txn: Txn) -> Outcome:
        for position, guard in enumerate(txn.guards):
            holds, version = self._check(guard)
            if not holds:
                return Outcome(self.index, position, version)
        for write in txn.writes:
            if isinstance(write, Put):
                self._put(txn, write.key, write.value)
            elif isinstance(write, Delete):
                self._delete(txn, write.key)
            else:
                for key in sorted(record.key for record in self.records.done().scan(write.scope)):
                    self._delete(txn, key)
        return self._applied

    def _check(self, guard: Guard) -> tuple[bool, int]:
        """Whether it holds, and the version of what it looked at (0: absent)."""
        if isinstance(guard, AbsentScope):
            found = self.records.done().any(guard.scope)
            return found is None, found.version if found else 0
        record = self.records.get(guard.key)
        version = record.version if record else 0
        match guard:
            case VersionIs():
                return version == guard.version, version
            case Exists():
                return record is not None, version
            case Absent():
                return record is None, version

    def _put(self, txn: Txn, key: Key, value: bytes) -> None:
        old = self.records.get(key)
        created_ms = old.created_ms if old else self.time_ms
        self.records.put(Record(key, value, self.index, created_ms, self.time_ms))
        self._emit(txn, Op.PUT, key, value, old.version if old else 0, created_ms)

    def _delete(self, txn: Txn, key: Key) -> None:
        old = self.records.delete(key)
        if old is not None:
            self._emit(txn, Op.DELETE, key, None, old.version, old.created_ms)

    def _emit(
        self, txn: Txn, op: Op, key: Key, value: bytes | None, previous_version: int, created_ms: int
    ) -> None:
        self.events.append(
            Event(
                *(self.index, self.term, self.time_ms, txn.actor, txn.request_id, txn.cause, txn.via),
                *(op, key, value, previous_version, created_ms),
            )
        )
