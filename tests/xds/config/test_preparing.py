"""What a plan needs is derived in portions, held meanwhile, and let go of when the plan was taken over."""

from __future__ import annotations

from collections.abc import Iterable

from tests.xds.engine.fakes import KIND, MESH, Cells
from xds.config.preparing import Preparing
from xds.engine import Context, Engine, Query, derivation

PLAN = ("a", "b", "c", "d", "e")


@derivation
def plan(ctx: Context, name: str) -> str:
    """Only the identity of what is prepared."""
    return name


@derivation
def cell(ctx: Context, name: str) -> int:
    found = ctx.get(KIND, MESH, name)
    if found is None:
        raise LookupError(name)
    number: int = found.spec[1]
    return number


def needs(names: Iterable[str]) -> Iterable[Query]:
    return (cell.query(name) for name in names)


def engine_of(names: Iterable[str] = PLAN) -> Engine:
    return Engine(Cells(dict.fromkeys(names, ("g", 1))))


def test_it_stops_after_so_many_derivations_and_goes_on_where_it_was() -> None:
    engine = engine_of()
    preparing = Preparing(engine)
    steps = []
    while not preparing.go_on(plan.query("p"), PLAN, needs, engine.ran + 2):
        steps.append(engine.ran)
    assert steps == [2, 4]
    assert engine.ran == len(PLAN)


def test_what_is_ready_is_kept_until_it_is_taken_over() -> None:
    engine = engine_of()
    preparing = Preparing(engine)
    preparing.go_on(plan.query("p"), PLAN, needs, engine.ran + 2)
    engine.step(0)
    assert len(engine) == 2
    preparing.end(plan.query("p"))
    engine.step(0)
    preparing.end(plan.query("p"))
    assert len(engine) == 0


def test_a_plan_that_changes_meanwhile_is_gone_through_anew_at_no_cost_for_what_is_there() -> None:
    engine = engine_of()
    preparing = Preparing(engine)
    preparing.go_on(plan.query("p"), PLAN, needs, engine.ran + 3)
    assert preparing.go_on(plan.query("p"), ("a", "b", "c"), needs, engine.ran + 1)
    assert engine.ran == 3


def test_what_cannot_be_derived_is_left_to_who_takes_it_over() -> None:
    engine = engine_of(("a", "c"))
    assert Preparing(engine).go_on(plan.query("p"), ("a", "b", "c"), needs, engine.ran + 9)
