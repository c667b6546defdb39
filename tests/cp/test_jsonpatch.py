"""Differences of documents: what they say, and that they lead from the one to the other."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cp.jsonpatch import diff

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab~/", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab~/", max_size=2), inner, max_size=4)
    ),
    max_leaves=12,
)


def ops(before: Any, after: Any) -> list[str]:
    found = diff(before, after)
    return [f"{each['op']} {each['path']} {each['value']!r}" for each in found if each["op"] != "test"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["remove /a 1", "add /a 2"]),
        ({"a": 1}, {"b": {"c": 2}}, ["remove /a 1", "add /b {'c': 2}"]),
        ({"a": {"b": [1]}}, {"a": {"b": [1, 2]}}, ["add /a/b/1 2"]),
        ([1], [2, 3, 1], ["add /0 3", "add /0 2"]),  # what stays at the end is left alone
        ([{"x": 1}], [{"x": 2}, 3, 4], ["remove /0/x 1", "add /0/x 2", "add /1 4", "add /1 3"]),
        ([1, 2, 3], [1], ["remove /1 2", "remove /1 3"]),
        ({"a/b~": 1}, {}, ["remove /a~1b~0 1"]),
        ({"a": True}, {"a": 1}, ["remove /a True", "add /a 1"]),
    ],
)
def test_what_is_said(before: Any, after: Any, expected: list[str]) -> None:
    assert ops(before, after) == expected


def test_what_goes_is_tested_first() -> None:
    found = list(diff({"a": 1}, {}))
    assert found == [
        {"op": "test", "path": "/a", "value": 1},
        {"op": "remove", "path": "/a", "value": 1},
    ]


@given(before=JSON, after=JSON)
def test_a_difference_leads_from_the_one_to_the_other(before: Any, after: Any) -> None:
    document = {"root": copy.deepcopy(before)}
    for operation in diff({"root": before}, {"root": after}):
        apply(document, operation)
    assert document == {"root": after}


def apply(document: Any, operation: dict[str, Any]) -> None:
    """One operation of RFC 6902, as a second reading of it."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    for part in parents:
        document = document[int(part)] if isinstance(document, list) else document[part]
    key = int(last) if isinstance(document, list) else last
    match operation["op"]:
        case "test":
            assert document[key] == operation["value"]
        case "remove":
            del document[key]
        case "add" if isinstance(document, list):
            document.insert(key, operation["value"])
        case "add":
            document[key] = operation["value"]
