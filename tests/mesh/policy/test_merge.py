"""Merging of confs: RFC 7396, collecting fields, routes by their matches."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.policy.merge import hash_matches, merge_confs, merge_patch

JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
CALM = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
OBJECTS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # the examples of RFC 7396, appendix A, that concern objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_rfc_7396(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


@CALM
@given(OBJECTS, OBJECTS)
def test_merging_changes_neither_argument(one: dict[str, Any], other: dict[str, Any]) -> None:
    before = repr((one, other))
    merge_patch(one, other)
    assert repr((one, other)) == before


@CALM
@given(OBJECTS)
def test_the_same_conf_twice_is_the_conf(conf: dict[str, Any]) -> None:
    assert merge_confs("MeshTimeout", [conf, conf]) == [conf]


@CALM
@given(OBJECTS, OBJECTS)
def test_the_later_conf_is_always_kept(one: dict[str, Any], other: dict[str, Any]) -> None:
    merged = merge_patch(one, other)
    assert merge_patch(merged, other) == merged


def test_lists_are_replaced_but_collected_where_the_name_says_so() -> None:
    confs = [{"backends": [1], "appendMatch": [1]}, {"backends": [2], "appendMatch": [2]}]
    assert merge_confs("MeshPassthrough", confs) == [{"backends": [2], "appendMatch": [1, 2]}]


def test_a_field_that_only_begins_like_a_collecting_one_is_replaced() -> None:
    assert merge_confs("X", [{"appendix": [1]}, {"appendix": [2]}]) == [{"appendix": [2]}]


def test_no_conf_makes_no_rule() -> None:
    assert merge_confs("MeshTimeout", []) == []


def _route(path: str, **default: Any) -> dict[str, Any]:
    return {"matches": [{"path": {"type": "Exact", "value": path}}], "default": default}


def test_routes_of_more_important_policies_stand_first() -> None:
    low = {"rules": [_route("/a", x=1), _route("/b", x=1)]}
    high = {"rules": [_route("/c", x=2), _route("/b", y=2)]}
    (merged,) = merge_confs("MeshHTTPRoute", [low, high])
    assert merged["rules"] == [_route("/c", x=2), _route("/b", x=1, y=2), _route("/a", x=1)]


def test_routes_of_different_hostnames_do_not_meet() -> None:
    everywhere = {"rules": [_route("/a", x=1)]}
    shop = {"hostnames": ["shop.example"], "rules": [_route("/a", x=2)]}
    assert merge_confs("MeshHTTPRoute", [everywhere, shop]) == [everywhere, shop]


def test_a_hash_of_matches_does_not_depend_on_the_order_of_fields() -> None:
    one = [{"path": {"type": "Exact", "value": "/"}, "method": "GET"}]
    other = [{"method": "GET", "path": {"value": "/", "type": "Exact"}}]
    assert hash_matches(one) == hash_matches(other)


def test_a_hash_of_matches_is_the_one_that_others_compute() -> None:
    assert (
        hash_matches([{"path": {"type": "Exact", "value": "/"}}])
        == "JNNc6//C3P17nUsOJm5f4kqG+U3v8pXhS0od9C3+oss="
    )
