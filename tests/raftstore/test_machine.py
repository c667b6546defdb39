"""Entries in, outcomes and events out: against a naive model, and by rule."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from store_strategies import txns

from raftstore import limits
from raftstore.codec import encode_batch, encode_txn, join_batch
from raftstore.machine import NOT_UNDERSTOOD, Applied, StateMachine
from raftstore.types import (
    Absent,
    AbsentScope,
    Delete,
    DeleteScope,
    Exists,
    Key,
    Op,
    Outcome,
    Put,
    Scope,
    Txn,
    VersionIs,
)

A, B, C = (Key("Dataplane", "default", name) for name in "abc")
M = Key("Mesh", "", "default")


def apply(machine: StateMachine, *batch: Txn, time_ms: int = 0) -> Applied:
    return machine.apply(machine.state.index + 1, 1, encode_batch(time_ms, batch))


@dataclass
class Model:
    """The rules once more, as plainly as can be: a dict of (value, version)."""

    data: dict[Key, tuple[bytes, int]] = field(default_factory=dict)
    seen: dict[str, Outcome] = field(default_factory=dict)
    changes: list[tuple[int, Op, Key, bytes | None, int]] = field(default_factory=list)

    def apply(self, index: int, txn: Txn) -> Outcome:
        if txn.request_id and txn.request_id in self.seen:
            return self.seen[txn.request_id]
        outcome = self.decide(index, txn)
        if txn.request_id:
            self.seen[txn.request_id] = outcome
        return outcome

    def decide(self, index: int, txn: Txn) -> Outcome:
        for position, guard in enumerate(txn.guards):
            if isinstance(guard, AbsentScope):
                held = sorted(k for k in self.data if guard.scope.holds(k))
                version, ok = (self.data[held[0]][1], False) if held else (0, True)
            else:
                version = self.data.get(guard.key, (b"", 0))[1]
                wanted = {Exists: version > 0, Absent: version == 0}
                ok = version == guard.version if isinstance(guard, VersionIs) else wanted[type(guard)]
            if not ok:
                return Outcome(index, position, version)
        for write in txn.writes:
            if isinstance(write, Put):
                self.change(index, Op.PUT, write.key, write.value)
            else:
                scope = write.scope if isinstance(write, DeleteScope) else None
                gone = [write.key] if isinstance(write, Delete) else sorted(filter(scope.holds, self.data))
                for key in [key for key in gone if key in self.data]:
                    self.change(index, Op.DELETE, key, None)
        return Outcome(index)

    def change(self, index: int, op: Op, key: Key, value: bytes | None) -> None:
        self.changes.append((index, op, key, value, self.data.pop(key, (b"", 0))[1]))
        if value is not None:
            self.data[key] = (value, index)


@settings(max_examples=200)
@given(st.lists(st.lists(txns, max_size=4), max_size=8))
def test_the_machine_agrees_with_the_model(entries: list[list[Txn]]) -> None:
    machine, model = StateMachine(), Model()
    for index, batch in enumerate(entries, 1):
        before = len(model.changes)
        expected = tuple(model.apply(index, txn) for txn in batch)
        applied = machine.apply(index, 1, encode_batch(index, batch))
        assert applied.outcomes == expected
        assert applied.request_ids == tuple(txn.request_id for txn in batch)
        found = [(e.index, e.op, e.key, e.value, e.previous_version) for e in applied.events]
        assert found == model.changes[before:]
        assert {r.key: (r.value, r.version) for r in machine.state.scan()} == model.data


@given(st.lists(st.lists(txns, max_size=3), max_size=6))
def test_replicas_converge_whatever_garbage_is_in_the_log(entries: list[list[Txn]]) -> None:
    one, two = StateMachine(), StateMachine()
    rng = random.Random(len(entries))
    for index, batch in enumerate(entries, 1):
        data = encode_batch(index, batch) if rng.random() < 0.7 else rng.randbytes(20)
        assert one.apply(index, 1, data) == two.apply(index, 1, data)
        two.apply(index, 1, data)  # offered again: no effect
    assert one.state.digest() == two.state.digest()


@given(st.binary(max_size=80))
def test_no_bytes_raise(data: bytes) -> None:
    machine = StateMachine()
    assert machine.apply(1, 1, data).events == ()
    assert machine.state.index == 1


def test_garbage_has_no_effect_and_is_counted() -> None:
    machine = StateMachine()
    digest = machine.state.digest()
    assert machine.apply(1, 1, b"\xff garbage") == Applied(1)
    good = encode_txn(Txn((Put(A, b"v"),), request_id="r"))
    applied = machine.apply(2, 1, join_batch(0, [b"junk", good]))
    assert applied.outcomes == (Outcome(2, NOT_UNDERSTOOD), Outcome(2))
    assert not applied.outcomes[0].applied and machine.rejected == 2
    assert machine.state.digest() != digest


def test_a_transaction_is_all_or_nothing() -> None:
    machine = StateMachine()
    applied = apply(machine, Txn((Put(A, b"1"), Put(B, b"2")), (Absent(A), Exists(C))))
    assert applied.outcomes == (Outcome(1, 1, 0),) and applied.events == ()
    assert len(machine.state.records) == 0


def test_later_transactions_of_an_entry_see_earlier_ones_and_share_its_index() -> None:
    machine = StateMachine()
    applied = apply(machine, Txn((Put(A, b"1"),)), Txn((Put(B, b"2"),), (VersionIs(A, 1),)))
    assert [e.index for e in applied.events] == [1, 1] and all(o.applied for o in applied.outcomes)


def test_a_mesh_is_not_deleted_under_a_dataplane_that_joins() -> None:
    machine = StateMachine()
    join = Txn((Put(A, b"dp"),), (Exists(M),))
    leave = Txn((Delete(M),), (AbsentScope(Scope(None, "default")),))
    apply(machine, Txn((Put(M, b"mesh"),)))
    applied = apply(machine, join, leave)
    assert applied.outcomes == (Outcome(2), Outcome(2, 0, 2))
    applied = apply(machine, Txn((Delete(A),)), leave, join)
    assert [o.applied for o in applied.outcomes] == [True, True, False]


def test_a_cascade_deletes_in_key_order() -> None:
    machine = StateMachine()
    apply(machine, Txn(tuple(Put(k, b"") for k in (C, A, M, B))))
    applied = apply(machine, Txn((DeleteScope(Scope(mesh="default")),)))
    assert [(e.op, e.key) for e in applied.events] == [(Op.DELETE, k) for k in (A, B, C)]
    assert machine.state.get(M) is not None


def test_a_retry_gets_the_first_answer_in_the_same_entry_or_a_later_one() -> None:
    machine = StateMachine()
    txn = Txn((Put(A, b"1"),), (Absent(A),), request_id="r")
    assert apply(machine, txn, txn).outcomes == (Outcome(1), Outcome(1))
    applied = apply(machine, txn)
    assert applied.outcomes == (Outcome(1),) and applied.events == ()
    assert machine.duplicates == 2


def test_a_refusal_is_remembered_too() -> None:
    machine = StateMachine()
    txn = Txn((Put(B, b"1"),), (Exists(A),), request_id="r")
    apply(machine, txn)
    apply(machine, Txn((Put(A, b""),)))
    assert apply(machine, txn).outcomes == (Outcome(1, 0, 0),)


def test_requests_are_forgotten_by_log_time_even_when_a_clock_runs_backwards() -> None:
    machine = StateMachine()
    old = Txn((Put(A, b"1"),), request_id="old")
    apply(machine, old, time_ms=1_000)
    later = 1_001 + limits.REQUESTS_REMEMBERED_MS
    many = [Txn((), request_id=f"r{n}") for n in range(limits.REQUESTS_REMEMBERED_MIN)]
    apply(machine, *many, time_ms=later)
    assert machine.state.requests.get("old") is None
    apply(machine, Txn((), request_id="back"), time_ms=5)
    assert machine.state.log_time_ms == later
    assert machine.state.requests.get("r0") is not None


def test_a_request_is_as_young_as_the_log_s_time_says() -> None:
    machine = StateMachine()
    apply(machine, time_ms=10 * limits.REQUESTS_REMEMBERED_MS)
    apply(machine, Txn((), request_id="by a slow clock"), time_ms=5)
    many = [Txn((), request_id=f"r{n}") for n in range(limits.REQUESTS_REMEMBERED_MIN)]
    apply(machine, *many, time_ms=10 * limits.REQUESTS_REMEMBERED_MS + 1)
    assert machine.state.requests.get("by a slow clock") is not None


def test_times_are_the_entry_s_and_creation_is_kept() -> None:
    machine = StateMachine()
    apply(machine, Txn((Put(A, b"1"),)), time_ms=100)
    event = apply(machine, Txn((Put(A, b"2"),), actor="ann", cause="why", via="n1"), time_ms=200).events[0]
    record = machine.state.get(A)
    assert record is not None and (record.created_ms, record.modified_ms, record.version) == (100, 200, 2)
    assert (event.time_ms, event.created_ms, event.previous_version) == (200, 100, 1)
    assert (event.actor, event.cause, event.via) == ("ann", "why", "n1")


def test_an_entry_offered_again_changes_nothing() -> None:
    machine = StateMachine()
    data = encode_batch(0, [Txn((Put(A, b"1"),))])
    machine.apply(5, 1, data)
    digest = machine.state.digest()
    assert machine.apply(5, 1, data) == Applied(5) and machine.apply(3, 1, data) == Applied(3)
    assert machine.state.digest() == digest and machine.repeated == 2
