"""Which links a majority ring cuts."""

from __future__ import annotations

import pytest

from chaos.network_faults import ring_cuts


@pytest.mark.parametrize("size", [3, 5, 7, 9])
def test_each_reaches_a_majority_and_no_two_the_same_one(size: int) -> None:
    ring = list(range(1, size + 1))
    cut = {frozenset(pair) for pair in ring_cuts(ring)}
    reached = [frozenset(b for b in ring if frozenset((a, b)) not in cut) for a in ring]
    assert all(len(each) > size // 2 for each in reached)
    assert len(set(reached)) == size


def test_of_three_the_leader_loses_one_follower() -> None:
    assert ring_cuts([2, 1, 3]) == [(2, 1)]


def test_of_five_each_reaches_its_neighbours_only() -> None:
    cut = {frozenset(pair) for pair in ring_cuts([1, 2, 3, 4, 5])}
    assert cut == {frozenset(pair) for pair in [(1, 3), (1, 4), (2, 4), (2, 5), (3, 5)]}
