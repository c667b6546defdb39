"""Incremental equals from-scratch, for random graphs of reads and random sequences of changes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.xds.engine.fakes import KIND, MESH, Cells
from xds.engine import Context, DerivationFailed, Engine, derivation

NAMES = [f"n{i}" for i in range(6)]
GROUPS = ["g", "h", "i"]


@derivation
def value(ctx: Context, name: str) -> int:
    cell = ctx.get(KIND, MESH, name)
    assert cell is not None, name
    number: int = cell.spec[1]
    return number


@derivation
def small(ctx: Context, name: str) -> bool:
    return value(ctx, name) < 5


@derivation
def follow(ctx: Context, name: str, depth: int) -> int:
    """Reads a chain whose course depends on values: the graph's shape changes with the data."""
    if depth == 0 or small(ctx, name):
        return value(ctx, name)
    return 1 + follow(ctx, NAMES[value(ctx, name) % len(NAMES)], depth - 1)


@derivation
def group(ctx: Context, name: str) -> tuple[int, ...]:
    return tuple(follow(ctx, key.name, 3) for key in ctx.lookup("group", name))


@derivation
def root(ctx: Context, client: str, name: str) -> tuple[str, tuple[int, ...], int]:
    return client, group(ctx, name), len(ctx.list(KIND, MESH))


ROOTS = [root.query(client, name) for client in ("x", "y") for name in GROUPS]
CELL = st.tuples(st.sampled_from(GROUPS), st.integers(0, 12))
UPDATES = st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), CELL), max_size=3)
# Each step: what changes, how many derivations run after it (0: the wave stays open), who asks between.
STEPS = st.lists(
    st.tuples(UPDATES, st.integers(0, 12), st.none() | st.sampled_from(ROOTS)), min_size=1, max_size=12
)


def answer(engine: Engine, query: object) -> object:
    """A result, or the text of its failure."""
    try:
        return engine.get(query.derivation, *query.args)  # type: ignore[attr-defined]
    except DerivationFailed as failed:
        return str(failed)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), CELL), STEPS)
def test_incremental_equals_full(
    start: dict[str, tuple[str, int]], steps: list[tuple[dict[str, tuple[str, int] | None], int, object]]
) -> None:
    view = Cells(start)
    engine = Engine(view)
    for query in ROOTS:
        engine.watch(query)
    last = dict.fromkeys(ROOTS, object())
    reported = set(engine.step(10_000))
    for updates, budget, asked in steps:
        view, changes = view.having(updates)
        engine.begin(view, changes)
        if asked is not None:
            assert answer(engine, asked) == answer(Engine(view), asked)
        reported.update(engine.step(budget))
        if engine.pending:
            continue
        fresh = {query: answer(Engine(view), query) for query in ROOTS}
        assert {query: answer(engine, query) for query in ROOTS} == fresh
        assert reported >= {query for query in ROOTS if last[query] != fresh[query]}
        last = fresh
        reported.clear()
    while engine.pending:
        engine.step(3)
    assert {query: answer(engine, query) for query in ROOTS} == {
        query: answer(Engine(view), query) for query in ROOTS
    }


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), CELL), st.lists(UPDATES, max_size=8))
def test_nothing_is_kept_that_a_fresh_engine_would_not_have(
    start: dict[str, tuple[str, int]], updates: list[dict[str, tuple[str, int] | None]]
) -> None:
    view = Cells(start)
    engine = Engine(view)
    for query in ROOTS:
        engine.watch(query)
    for update in updates:
        view, changes = view.having(update)
        engine.advance(view, changes)
    engine.step(10_000)
    fresh = Engine(view)
    for query in ROOTS:
        fresh.watch(query)
    fresh.step(10_000)
    assert len(engine) == len(fresh)
