"""The engine: only what changed runs, equal output stops the wave, failures are values."""

from __future__ import annotations

import pytest

from tests.xds.engine.fakes import KIND, MESH, Cells
from xds.engine import Context, Cycle, DerivationFailed, Engine, EngineBusy, derivation

VIEW = Cells({"a": ("g", 1), "b": ("g", 2), "c": ("h", 30)})


@derivation
def number(ctx: Context, name: str) -> int:
    """The number of a cell."""
    cell = ctx.get(KIND, MESH, name)
    if cell is None:
        raise LookupError(f"no cell {name}")
    value: int = cell.spec[1]
    return value


@derivation
def parity(ctx: Context, name: str) -> str:
    return "odd" if number(ctx, name) % 2 else "even"


@derivation
def members(ctx: Context, group: str) -> tuple[str, ...]:
    return tuple(key.name for key in ctx.lookup("group", group))


@derivation
def total(ctx: Context, group: str) -> int:
    return sum(number(ctx, name) for name in members(ctx, group))


@derivation
def page(ctx: Context, reader: str, group: str) -> str:
    return f"{reader}: {total(ctx, group)}"


@derivation
def odd_names(ctx: Context) -> tuple[str, ...]:
    return tuple(cell.name for cell in ctx.list(KIND, MESH) if parity(ctx, cell.name) == "odd")


def test_a_result_is_computed_once_however_often_it_is_asked() -> None:
    engine = Engine(VIEW)
    assert engine.get(total, "g") == engine.get(total, "g") == 3
    assert engine.runs["test_engine.total"] == 1


def test_a_change_runs_what_read_it_and_nothing_else() -> None:
    engine = Engine(VIEW)
    for query in (total.query("g"), total.query("h")):
        engine.watch(query)
    engine.step(100)
    engine.runs.clear()
    view, changes = VIEW.having({"c": ("h", 31)})
    assert engine.advance(view, changes) == {total.query("h")}
    assert engine.get(total, "h") == 31
    assert engine.runs == {"test_engine.number": 1, "test_engine.members": 1, "test_engine.total": 1}


def test_equal_output_stops_the_wave() -> None:
    engine = Engine(VIEW)
    engine.watch(odd_names.query())
    engine.watch(parity.query("a"))
    engine.step(100)
    engine.runs.clear()
    view, changes = VIEW.having({"a": ("g", 5)})
    assert engine.advance(view, changes) == set()
    assert engine.runs["test_engine.parity"] == 1


def test_readers_of_the_same_result_share_one_run() -> None:
    engine = Engine(VIEW)
    readers = [page.query(f"r{i}", "g") for i in range(100)]
    for query in readers:
        engine.watch(query)
    assert engine.step(1000) == tuple(readers)
    assert engine.runs["test_engine.total"] == 1


def test_each_node_runs_once_in_a_wave_even_below_a_diamond() -> None:
    engine = Engine(VIEW)
    engine.watch(page.query("r", "g"))
    engine.step(100)
    engine.runs.clear()
    view, changes = VIEW.having({"a": ("g", 10), "b": ("g", 20)})
    engine.advance(view, changes)
    assert engine.runs["test_engine.total"] == engine.runs["test_engine.page"] == 1


def test_reads_are_recorded() -> None:
    engine = Engine(VIEW)
    engine.watch(odd_names.query())
    engine.watch(number.query("a"))
    engine.step(100)
    assert engine.reads_of(number.query("a")).keys == ((KIND, MESH, "a"),)
    reads = engine.reads_of(odd_names.query())
    assert reads.index_keys == (("kind", KIND, MESH),)
    assert reads.queries == tuple(parity.query(name) for name in "abc")


def test_a_failure_is_a_value_that_reaches_readers_and_heals() -> None:
    engine = Engine(VIEW)
    engine.watch(parity.query("z"))
    assert engine.step(100) == (parity.query("z"),)
    with pytest.raises(DerivationFailed, match=r"number\('z'\): LookupError: no cell z") as failed:
        engine.get(parity, "z")
    assert failed.value.query == number.query("z")
    view, changes = VIEW.having({"z": ("g", 7)})
    assert engine.advance(view, changes) == {parity.query("z")}
    assert engine.get(parity, "z") == "odd"


def test_the_same_failure_again_is_no_change() -> None:
    engine = Engine(VIEW)
    engine.watch(number.query("z"))
    engine.step(100)
    _, changes = VIEW.having({"z": ("g", 7)})
    assert engine.advance(VIEW, changes) == set()


def test_a_wave_can_be_sliced() -> None:
    engine = Engine(VIEW)
    readers = [page.query(f"r{i}", "g") for i in range(10)]
    for query in readers:
        engine.watch(query)
    engine.step(1000)
    view, changes = VIEW.having({"a": ("g", 100)})
    engine.begin(view, changes)
    seen: list[object] = []
    while engine.pending:
        seen.extend(engine.step(1))
    assert seen == readers


def test_an_urgent_question_is_answered_ahead_of_the_queue() -> None:
    engine = Engine(VIEW)
    engine.watch(page.query("r", "g"))
    engine.watch(page.query("r", "h"))
    engine.step(1000)
    engine.runs.clear()
    view, changes = VIEW.having({"a": ("g", 100), "c": ("h", 100)})
    engine.begin(view, changes)
    assert engine.get(page, "r", "h") == "r: 100"
    assert engine.runs["test_engine.total"] == 1
    assert engine.pending
    assert engine.step(100) == (page.query("r", "h"), page.query("r", "g"))


def test_a_newer_view_joins_a_wave_and_the_latest_wins() -> None:
    engine = Engine(VIEW)
    engine.watch(page.query("r", "g"))
    engine.step(1000)
    engine.runs.clear()
    first, changes = VIEW.having({"a": ("g", 100)})
    engine.begin(first, changes)
    engine.step(1)
    second, changes = first.having({"b": ("g", 200)})
    assert engine.advance(second, changes) == {page.query("r", "g")}
    assert engine.get(page, "r", "g") == "r: 300"
    assert engine.runs["test_engine.page"] == 1


def test_what_nobody_needs_is_dropped() -> None:
    engine = Engine(VIEW)
    engine.watch(page.query("r", "g"))
    engine.step(100)
    full = len(engine)
    assert full == 5
    view, changes = VIEW.having({"b": None})
    engine.advance(view, changes)
    assert len(engine) == full - 1
    engine.unwatch(page.query("r", "g"))
    engine.step(1)
    assert len(engine) == 0


def test_a_result_asked_for_once_is_kept_until_the_wave_ends() -> None:
    engine = Engine(VIEW)
    engine.get(page, "r", "g")
    assert len(engine) == 5
    engine.step(1)
    assert len(engine) == 0


def test_watches_are_counted() -> None:
    engine = Engine(VIEW)
    query = number.query("a")
    engine.watch(query)
    engine.watch(query)
    engine.unwatch(query)
    engine.step(1)
    assert len(engine) == 1
    engine.unwatch(query)
    engine.step(1)
    with pytest.raises(KeyError):
        engine.unwatch(query)


@derivation
def chicken(ctx: Context) -> int:
    return egg(ctx) + 1


@derivation
def egg(ctx: Context) -> int:
    return chicken(ctx) + 1


def test_a_cycle_is_named() -> None:
    with pytest.raises(DerivationFailed) as failed:
        Engine(VIEW).get(chicken)
    assert isinstance(failed.value.cause, Cycle)


def test_the_view_cannot_move_under_a_running_derivation() -> None:
    engine = Engine(VIEW)
    _, changes = VIEW.having({"a": ("g", 2)})

    @derivation
    def mover(ctx: Context) -> None:
        engine.begin(VIEW, changes)

    with pytest.raises(DerivationFailed) as failed:
        engine.get(mover)
    assert isinstance(failed.value.cause, EngineBusy)


def test_keyword_arguments_are_refused_because_they_would_make_two_keys_of_one() -> None:
    engine = Engine(VIEW)
    with pytest.raises(TypeError, match="positional"):
        engine.get(number, name="a")
