"""The persistent collections against plain dicts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from store_strategies import keys, scopes

from raftstore.state import Records, RecordsEdit, Requests, RequestsEdit, State
from raftstore.types import Key, Outcome, Record, Scope

changes = st.lists(st.tuples(keys, st.none() | st.binary(max_size=4)), max_size=30)


def fold(steps: list[tuple[Key, bytes | None]]) -> tuple[Records, dict[Key, Record]]:
    records, model = Records(), {}
    for version, (key, value) in enumerate(steps, 1):
        if value is not None:
            model[key] = Record(key, value, version, 1, 2)
            records = records.put(model[key])
        elif key in model:
            del model[key]
            records = records.delete(key)
    return records, model


@given(changes, scopes)
def test_records_are_a_dict_with_scopes(steps: list[tuple[Key, bytes | None]], scope: Scope) -> None:
    records, model = fold(steps)
    assert len(records) == len(model)
    assert {r.key: r for r in records.scan()} == model
    held = sorted(key for key in model if scope.holds(key))
    assert sorted(r.key for r in records.scan(scope)) == held
    found = records.any(scope)
    assert (found.key if found else None) == (held[0] if held else None)
    for key in model:
        assert records.get(key) == model[key]


@given(changes)
def test_the_digest_depends_on_content_and_not_on_the_way_there(
    steps: list[tuple[Key, bytes | None]],
) -> None:
    records, model = fold(steps)
    rebuilt = Records()
    for key in sorted(model, reverse=True):
        rebuilt = rebuilt.put(model[key])
    assert rebuilt.sum == records.sum
    if model:
        key = min(model)
        other = rebuilt.put(Record(key, model[key].value + b"!", 1, 1, 2))
        assert other.sum != records.sum
        assert rebuilt.delete(key).sum != records.sum
    else:
        assert records.sum == 0 and not records.tree


@given(changes, st.integers(1, 5))
def test_an_edit_makes_what_single_changes_make(steps: list[tuple[Key, bytes | None]], every: int) -> None:
    """Whole value and digest, wherever one entry ends and the next begins; and the base stays."""
    expected, model = fold(steps)
    base = records = Records()
    edit = RecordsEdit(base)
    for version, (key, value) in enumerate(steps, 1):
        before = edit.get(key)
        old = edit.delete(key) if value is None else edit.put(Record(key, value, version, 1, 2))
        assert old == before
        if version % every == 0:
            records = edit.done()
            edit = RecordsEdit(records)
    records = edit.done()
    assert records == expected and len(records) == len(model) and records.sum == expected.sum
    assert base == Records()


def test_an_edit_goes_on_after_a_look_at_the_whole() -> None:
    edit, key = RecordsEdit(Records()), Key("Mesh", "", "a")
    edit.put(Record(key, b"1", 1, 0, 0))
    assert [record.key for record in edit.done().scan()] == [key]
    edit.delete(key)
    assert edit.done() == Records()


def test_an_edit_remembers_what_single_additions_remember() -> None:
    edit = RequestsEdit(remember(3))
    assert edit.get("r2") == Outcome(2) and edit.get("r3") is None
    edit.add("r3", Outcome(3), 30)
    assert edit.get("r3") == Outcome(3)
    requests = edit.done()
    assert requests == remember(4) and requests.sum == remember(4).sum


def test_an_old_state_is_a_snapshot() -> None:
    key = Key("Mesh", "", "a")
    before = Records().put(Record(key, b"1", 1, 0, 0))
    after = before.delete(key)
    assert before.get(key) is not None and after.get(key) is None


def remember(count: int, gap_ms: int = 10) -> Requests:
    requests = Requests()
    for number in range(count):
        requests = requests.add(f"r{number}", Outcome(number), number * gap_ms)
    return requests


def test_requests_are_forgotten_by_count_oldest_first() -> None:
    kept = remember(10).forget(90, count_min=0, count_max=4, age_ms_max=1000)
    assert [request_id for request_id, _ in kept.in_order()] == ["r6", "r7", "r8", "r9"]
    assert kept.get("r5") is None and kept.get("r6") == Outcome(6)


def test_requests_are_forgotten_by_age_but_the_newest_stay() -> None:
    kept = remember(10).forget(10_000, count_min=3, count_max=100, age_ms_max=50)
    assert [request_id for request_id, _ in kept.in_order()] == ["r7", "r8", "r9"]
    by_age = remember(10).forget(100, count_min=0, count_max=100, age_ms_max=40)
    assert len(by_age) == 4


def test_the_digest_covers_requests_and_forgets_with_them() -> None:
    base = State().digest()
    requests = remember(3)
    assert State(requests=requests).digest() != base
    emptied = requests.forget(10**9, count_min=0, count_max=0, age_ms_max=0)
    assert len(emptied) == 0 and State(requests=emptied).digest() == base
