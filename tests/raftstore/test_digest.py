"""Digests are the same whenever, and however often, they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from raftstore.digest import MODULUS, NOTED_MAX, STEP, Digest, hash_of


class Members:
    """A set of numbers with its digest, which counts what is hashed."""

    def __init__(self) -> None:
        self.held: frozenset[int] = frozenset()
        self.hashed = 0
        self.digest: Digest[int] = Digest(self.hash, 0)

    def hash(self, member: int) -> int:
        self.hashed += 1
        return hash_of(member)

    def toggle(self, members: set[int]) -> None:
        came, went = sorted(members - self.held), sorted(members & self.held)
        self.held = self.held ^ members
        self.digest = self.digest.changed(came, went)

    def value(self) -> int:
        held = self.held
        return self.digest.value(lambda: iter(held))

    def expected(self) -> int:
        return sum(map(hash_of, self.held)) % MODULUS


@given(st.lists(st.tuples(st.sets(st.integers(0, 30), max_size=9), st.booleans()), max_size=60))
def test_it_is_the_sum_of_the_members_hashes(steps: list[tuple[set[int], bool]]) -> None:
    members = Members()
    for toggled, asked in steps:
        members.toggle(toggled)
        if asked:
            assert members.value() == members.expected()
    assert members.value() == members.expected()


def test_a_change_costs_nothing_until_somebody_asks_and_then_only_what_changed() -> None:
    members = Members()
    members.toggle(set(range(100)))
    assert members.hashed == 0
    first = members.digest, members.held
    assert members.value() == members.expected() and members.hashed == 100
    members.toggle({1, 200})
    assert members.value() == members.expected() and members.hashed == 102
    digest, held = first
    assert digest.value(lambda: iter(held)) == sum(map(hash_of, held)) % MODULUS and members.hashed == 102


def test_after_many_changes_all_members_are_hashed_in_steps() -> None:
    members = Members()
    for number in range(NOTED_MAX + 1):
        members.toggle({number % 7})
    members.toggle(set(range(100, 100 + 2 * STEP)))
    steps: Iterator[None] = members.digest.work_out(lambda: iter(members.held))
    counts = [members.hashed for _ in steps]
    assert counts == [STEP, 2 * STEP] and members.hashed == len(members.held)
    assert members.value() == members.expected() and members.hashed == len(members.held)


def test_what_is_noted_is_bounded_and_let_go_of_once_it_is_known() -> None:
    members = Members()
    for number in range(3 * NOTED_MAX):
        members.toggle({number})
        assert members.digest._noted <= NOTED_MAX
    members.value()
    members.toggle({0})
    assert members.digest._noted == 1
