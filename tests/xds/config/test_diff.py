"""Differences of configurations: what they are, and that applying them gives the target."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from xds.config.diff import diff, operations
from xds.config.policies.jsonpatch import apply

LEAVES = st.integers(0, 3) | st.sampled_from(["a", "b"]) | st.booleans()
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("xy/~"), inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def test_equal_values_do_not_differ() -> None:
    assert diff({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}) == []


def test_a_change_is_a_removal_and_an_addition() -> None:
    assert diff({"a/b": 1}, {"a/b": 2}) == [
        {"op": "remove", "path": "/a~1b", "value": 1},
        {"op": "add", "path": "/a~1b", "value": 2},
    ]


def test_elements_that_stay_are_not_touched() -> None:
    assert diff({"l": ["x", "z"]}, {"l": ["x", "y", "z"]}) == [{"op": "add", "path": "/l/1", "value": "y"}]


def test_several_new_elements_are_added_at_one_place_from_the_last() -> None:
    found = diff({"l": ["z"]}, {"l": ["x", "y", "z"]})
    assert [(o["path"], o["value"]) for o in found] == [("/l/0", "y"), ("/l/0", "x")]


def test_what_goes_is_tested_first_where_that_is_wanted() -> None:
    assert diff({"a": 1}, {"b": 2}, tested=True) == [
        {"op": "test", "path": "/a", "value": 1},
        {"op": "remove", "path": "/a", "value": 1},
        {"op": "add", "path": "/b", "value": 2},
    ]


def test_long_lists_are_compared_from_both_ends() -> None:
    before = list(range(600))
    after = [*before[:300], "new", *before[300:]]
    assert diff({"l": before}, {"l": after}) == [{"op": "add", "path": "/l/300", "value": "new"}]
    assert apply({"l": before}, operations({"l": before}, {"l": after[5:]})) == {"l": after[5:]}


@settings(max_examples=300, deadline=None)
@given(OBJECTS, OBJECTS)
def test_applied_to_one_they_give_the_other(before: Any, after: Any) -> None:
    assert apply(before, operations(before, after)) == after
