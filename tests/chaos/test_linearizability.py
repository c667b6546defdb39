"""The judge is judged: histories that are linearizable, and ones that are not."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.linearizability import Linearizable, Operation, check, is_linearizable


def write(value: str, called: float, returned: float | None, client: str = "c") -> Operation:
    return Operation(client, "k", called, returned, write=value)


def read(value: str | None, called: float, returned: float, client: str = "r") -> Operation:
    return Operation(client, "k", called, returned, read=value)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [read(None, 0, 1)],
        [write("a", 0, 1), read("a", 2, 3)],
        [write("a", 0, 10), read(None, 1, 2), read("a", 3, 4)],
        [write("a", 0, 10), write("b", 0, 10), read("b", 11, 12)],
        [write("a", 0, 10), write("b", 0, 10), read("a", 11, 12)],
        # an unknown outcome may take effect late, or never
        [write("a", 0, 1), write("b", 2, None), read("a", 3, 4), read("b", 5, 6)],
        [write("a", 0, 1), write("b", 2, None), read("a", 3, 4), read("a", 5, 6)],
    ],
)
def test_what_has_an_order_is_accepted(history: list[Operation]) -> None:
    assert is_linearizable(history)


@pytest.mark.parametrize(
    "history",
    [
        [read("a", 0, 1)],
        [write("a", 0, 1), read(None, 2, 3)],
        [write("a", 0, 1), write("b", 2, 3), read("a", 4, 5)],
        # two reads that disagree on the order of two writes
        [write("a", 0, 10), write("b", 0, 10), read("a", 11, 12), read("b", 13, 14)],
        # a value that was seen is gone again
        [write("a", 0, 1), write("b", 2, None), read("b", 3, 4), read("a", 5, 6)],
        # a lost write is seen before it was called
        [read("a", 0, 1), write("a", 2, None)],
    ],
)
def test_what_has_none_is_refused_with_the_evidence(history: list[Operation]) -> None:
    with pytest.raises(Linearizable, match="'k'"):
        check(history)


def test_keys_are_registers_of_their_own() -> None:
    other = Operation("c", "other", 0, 1, write="x")
    assert check([other, read(None, 2, 3)]) == 2


def by_brute_force(history: list[Operation]) -> bool:
    """Every order of every choice of unknown operations: slow and beyond doubt."""
    certain = [each for each in history if each.returned is not None]
    unknown = [each for each in history if each.returned is None]
    for size in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, size):
            if any(explains(order) for order in itertools.permutations([*certain, *chosen])):
                return True
    return False


def explains(order: tuple[Operation, ...]) -> bool:
    value = None
    for position, each in enumerate(order):
        if any(
            later.returned is not None and later.returned < each.called for later in order[position + 1 :]
        ):
            return False
        if each.is_write:
            value = each.write
        elif each.read != value:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    operations = []
    for _ in range(draw(st.integers(0, 5))):
        called = draw(st.integers(0, 8))
        returned = called + draw(st.integers(0, 5))
        if draw(st.booleans()):
            lost = draw(st.booleans())
            operations.append(write(draw(st.sampled_from("ab")), called, None if lost else returned))
        else:
            operations.append(read(draw(st.sampled_from(["a", "b", None])), called, returned))
    return operations


@given(histories())
def test_the_search_agrees_with_brute_force(history: list[Operation]) -> None:
    assert is_linearizable(history) == by_brute_force(history)
