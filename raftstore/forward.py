"""From any replica to the leader: the sending half (Forwarder) and the leader's (Intake). Sans-io.

    submit(txn) -> Forwarder on this replica -> wire, or nothing when this one leads
                -> Intake on the leader -> one Raft entry of all that waits -> applied
                -> outcome back to the Forwarder -> applied here too -> on_done

**Order.** All transactions of one replica go to the leader as a numbered sequence. An
*epoch* is one unbroken stretch of it to one leader. When the leader changes, or refuses,
or the link breaks, a new epoch begins and everything without an outcome is sent again,
in order. Within an epoch an Intake that has refused one number refuses all after it,
so what a leader accepts is always a prefix, and a client's writes keep their order.

**Once.** Sending again is safe since each transaction has a request id that the state
machine applies once. Epochs start at a random number, so that answers meant for a
predecessor of this process are not mistaken for ours.

**Honesty.** A transaction that certainly reached no log fails with Unavailable; one that may
have, with UnknownOutcome.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

from msgspec import Struct

from raftstore import codec, limits
from raftstore.errors import Overloaded, StoreError, TooLarge, Unavailable, UnknownOutcome
from raftstore.node import Fate, ProposeResult
from raftstore.types import Outcome

OnOutcome = Callable[[Outcome | StoreError], None]


class Verdict(IntEnum):
    """What the leader says of one transaction. Numbers are on the wire."""

    APPLIED = 0
    REFUSED = 1  # certainly not in a log by this sending
    UNKNOWN = 2  # may be in a log


class Answer(Struct, frozen=True, gc=False):
    """A leader's word on transaction `seq`. `index`: of the outcome; 0 when there is none."""

    seq: int
    verdict: Verdict
    outcome: Outcome | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """Transactions `seq`, `seq` + 1, ... of one epoch, for replica `to`."""

    to: str
    epoch: int
    seq: int
    txns: Sequence[bytes]


# --- the sending half ----------------------------------------------------------------------


@dataclass(slots=True)
class _Waiting:
    seq: int
    txn: bytes
    deadline: float
    on_done: OnOutcome
    # How many sendings of it may be in some log. Not zero: an error is an UnknownOutcome.
    doubtful: int = 0


class Forwarder:
    """This replica's transactions on their way to whoever leads.

    grace_s: how long a missing leader is waited for before submitting fails at once; an
    election should fit in.
    """

    def __init__(self, grace_s: float, now: float, rng: random.Random | None = None) -> None:
        self._grace_s = grace_s
        self._waiting: dict[int, _Waiting] = {}  # by seq, in order
        self._deadlines: list[tuple[float, int]] = []
        self._unsent: deque[int] = deque()
        self._seq = 0
        self._bytes = 0
        self._first_epoch = self._epoch = (rng or random.SystemRandom()).getrandbits(48)
        self._route: str | None = None
        self._routeless_since = now
        self._resume_at: float | None = None  # after a refusal
        self._why = "no leader has been elected yet"

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def leader(self) -> str | None:
        return self._route

    def submit(self, txn: bytes, deadline: float, now: float, on_done: OnOutcome) -> None:
        """Take over an encoded transaction that carries a request id. on_done is called once.

        Raises Overloaded, TooLarge, Unavailable: then nothing was taken over.
        """
        if len(txn) > limits.TXN_BYTES_MAX:
            raise TooLarge(f"the transaction: {len(txn)} bytes; the limit is {limits.TXN_BYTES_MAX}")
        if len(self._waiting) >= limits.SUBMITS_WAITING_MAX:
            raise Overloaded(f"{len(self._waiting)} writes are waiting on this replica already")
        if self._waiting and self._bytes + len(txn) > limits.SUBMITS_WAITING_BYTES_MAX:
            raise Overloaded(f"{self._bytes} bytes of writes are waiting on this replica already")
        if self._hopeless(now):
            raise Unavailable(self._why, None)
        self._seq += 1
        self._waiting[self._seq] = _Waiting(self._seq, txn, deadline, on_done)
        self._bytes += len(txn)
        heapq.heappush(self._deadlines, (deadline, self._seq))
        self._unsent.append(self._seq)

    def set_route(self, leader: str | None, now: float, why: str = "") -> None:
        """Who leads and can be reached; None: nobody, for the reason `why`."""
        if why:
            self._why = why
        if leader == self._route:
            return
        if leader is None:
            self._routeless_since = now
        self._route = leader
        self._restart()

    def hope(self, now: float) -> None:
        """Something changed, e.g. a peer came back: a leader may be elected within the grace again."""
        self._routeless_since = now

    def flush(self, now: float) -> list[Request]:
        """What is to be sent now, in order."""
        if self._resume_at is not None and now >= self._resume_at:
            self._restart()
        if self._route is None or self._resume_at is not None:
            return []
        requests: list[Request] = []
        while self._unsent:
            requests.append(self._next_request(self._route))
        return requests

    def answered(self, epoch: int, answers: Iterable[Answer], now: float) -> list[int]:
        """Take the leader's answers in; the indexes of outcomes, for tests and traces."""
        indexes: list[int] = []
        if not self._first_epoch <= epoch <= self._epoch:
            return indexes  # meant for a process of our name that is gone
        for answer in answers:
            waiting = self._waiting.get(answer.seq)
            if waiting is None:
                continue
            if answer.verdict is Verdict.APPLIED and answer.outcome is not None:
                self._finish(waiting, answer.outcome)
                indexes.append(answer.outcome.index)
                continue
            if answer.verdict is Verdict.REFUSED:
                waiting.doubtful -= 1
            if epoch == self._epoch and self._resume_at is None:
                self._why = answer.reason or self._why
                self._resume_at = now + limits.RESEND_S
        return indexes

    def tick(self, now: float) -> None:
        """Fail what is late, and what has no leader to hope for."""
        while self._deadlines and self._deadlines[0][0] <= now:
            waiting = self._waiting.get(heapq.heappop(self._deadlines)[1])
            if waiting is not None:
                self._finish(waiting, self._error(waiting))
        if self._waiting and self._hopeless(now):
            for waiting in [w for w in self._waiting.values() if not w.doubtful]:
                self._finish(waiting, self._error(waiting))

    def next_deadline(self) -> float | None:
        return self._deadlines[0][0] if self._deadlines else None

    def _hopeless(self, now: float) -> bool:
        return self._route is None and now - self._routeless_since > self._grace_s

    def _restart(self) -> None:
        self._epoch += 1
        self._unsent = deque(self._waiting)
        self._resume_at = None

    def _next_request(self, to: str) -> Request:
        """As many transactions as fit into one frame, with consecutive numbers."""
        first = self._unsent[0]
        txns: list[bytes] = []
        size = 0
        while self._unsent and len(txns) < limits.BATCH_TXNS_MAX:
            waiting = self._waiting.get(self._unsent[0])
            if waiting is None:  # given up meanwhile; numbers must stay consecutive
                self._unsent.popleft()
                if txns:
                    break
                first = self._unsent[0] if self._unsent else first
                continue
            if txns and (size + len(waiting.txn) > limits.FORWARD_BYTES or waiting.seq != first + len(txns)):
                break
            self._unsent.popleft()
            txns.append(waiting.txn)
            size += len(waiting.txn)
            waiting.doubtful += 1
        return Request(to, self._epoch, first, txns)

    def _finish(self, waiting: _Waiting, result: Outcome | StoreError) -> None:
        del self._waiting[waiting.seq]
        self._bytes -= len(waiting.txn)
        waiting.on_done(result)

    def _error(self, waiting: _Waiting) -> StoreError:
        if waiting.doubtful > 0:
            return UnknownOutcome(f"the write was sent to the leader and not answered in time ({self._why})")
        return Unavailable(self._why, self._route)


# --- the leader's half ---------------------------------------------------------------------


@dataclass(slots=True)
class _Source:
    """One replica's sequence, as the leader sees it."""

    epoch: int = -1
    refused: bool = False


class Intake:
    """Transactions from all replicas, batched into Raft entries.

    propose: the node's. answer(to, epoch, answers): how answers travel. time_ms: Unix
    milliseconds. refusal: "" or why nothing may be written now.
    """

    def __init__(
        self,
        *,
        propose: Callable[[bytes, Callable[[ProposeResult], None]], None],
        answer: Callable[[str, int, list[Answer]], None],
        time_ms: Callable[[], int],
        refusal: Callable[[], str],
    ) -> None:
        self._propose = propose
        self._answer = answer
        self._time_ms = time_ms
        self._refusal = refusal
        self._queue: deque[tuple[str, int, int, bytes]] = deque()  # source, epoch, seq, txn
        self._queue_bytes = 0
        self._sources: dict[str, _Source] = {}
        self._in_flight = 0
        self.entries = self.txns = 0
        self.undecided = 0  # transactions in entries that are under way

    def offer(self, source: str, epoch: int, seq: int, txns: Sequence[bytes]) -> None:
        """Transactions of `source`: accepted in order, or refused together with all that follow."""
        state = self._sources.setdefault(source, _Source())
        if epoch != state.epoch:
            self._sources[source] = state = _Source(epoch)
        reason = self._refusal() or self._overload(txns)
        if reason:
            state.refused = True
        if state.refused:
            why = reason or "an earlier write was refused"
            self._answer(
                source, epoch, [Answer(seq + i, Verdict.REFUSED, None, why) for i in range(len(txns))]
            )
            return
        self._queue.extend((source, epoch, seq + i, txn) for i, txn in enumerate(txns))
        self._queue_bytes += sum(map(len, txns))

    @property
    def may_flush(self) -> bool:
        """Whether something waits that may be proposed now.

        Few entries are in flight at a time, so that the rest shares the next.
        """
        return bool(self._queue) and self._in_flight < limits.ENTRIES_IN_FLIGHT_MAX

    def flush(self) -> bool:
        """Propose what waits, and whether anything was proposed."""
        proposed = False
        while self.may_flush:
            batch = self._next_batch()
            proposed = True
            self._in_flight += 1
            self.entries += 1
            self.txns += len(batch)
            self.undecided += len(batch)
            command = codec.join_batch(self._time_ms(), [txn for *_, txn in batch])
            places = [place[:3] for place in batch]
            self._propose(command, partial(self._decided, places))
        return proposed

    def _next_batch(self) -> list[tuple[str, int, int, bytes]]:
        batch: list[tuple[str, int, int, bytes]] = []
        size = 0
        while self._queue and len(batch) < limits.ENTRY_TXNS_MAX:
            length = len(self._queue[0][3])
            if batch and size + length > limits.ENTRY_TARGET_BYTES:
                break
            batch.append(self._queue.popleft())
            size += length
        self._queue_bytes -= size
        return batch

    def _decided(self, places: list[tuple[str, int, int]], result: ProposeResult) -> None:
        self._in_flight -= 1
        self.undecided -= len(places)
        outcomes: Sequence[Outcome] = getattr(result.applied, "outcomes", ())
        known = result.fate is Fate.APPLIED and len(outcomes) == len(places)
        verdict = Verdict.UNKNOWN if result.fate in (Fate.UNKNOWN, Fate.APPLIED) else Verdict.REFUSED
        reason = result.reason or "leadership was lost"
        answers: dict[tuple[str, int], list[Answer]] = {}
        for i, (source, epoch, seq) in enumerate(places):
            answer = (
                Answer(seq, Verdict.APPLIED, outcomes[i]) if known else Answer(seq, verdict, None, reason)
            )
            answers.setdefault((source, epoch), []).append(answer)
        for (source, epoch), several in answers.items():
            if not known and self._sources.get(source, _Source()).epoch == epoch:
                self._sources[source].refused = True
            self._answer(source, epoch, several)

    def _overload(self, txns: Sequence[bytes]) -> str:
        waiting = self._queue_bytes + sum(map(len, txns))
        if self._queue and waiting > limits.INTAKE_BYTES_MAX:
            return f"{waiting} bytes of writes wait at the leader"
        return ""


# --- on the wire ---------------------------------------------------------------------------


def request_to_wire(request: Request) -> tuple[object, ...]:
    return ("submit", request.epoch, request.seq, tuple(request.txns))


def request_from_wire(wire: Sequence[object]) -> tuple[int, int, tuple[bytes, ...]]:
    """(epoch, seq, transactions). Raises ValueError."""
    match wire:
        case (_, int(epoch), int(seq), tuple(txns)) if 0 < len(txns) <= limits.BATCH_TXNS_MAX:
            if all(type(txn) is bytes and len(txn) <= limits.TXN_BYTES_MAX for txn in txns):
                return epoch, seq, txns
    raise ValueError("submit: wrong shape")


def answers_to_wire(epoch: int, answers: Iterable[Answer]) -> tuple[object, ...]:
    items = (
        (a.seq, int(a.verdict), codec.outcome_to_wire(a.outcome) if a.outcome else None, a.reason)
        for a in answers
    )
    return ("answers", epoch, tuple(items))


def answers_from_wire(wire: Sequence[object]) -> tuple[int, list[Answer]]:
    """(epoch, answers). Raises ValueError."""
    match wire:
        case (_, int(epoch), tuple(items)):
            return epoch, [_answer_from_wire(item) for item in items]
    raise ValueError("answers: wrong shape")


def _answer_from_wire(item: object) -> Answer:
    match item:
        case (int(seq), int(verdict), outcome, str(reason)):
            found = None if outcome is None else codec.outcome_from_wire(outcome)
            return Answer(seq, Verdict(verdict), found, reason)
    raise ValueError("answer: wrong shape")
