"""No message, however made, reaches a handler unless its shape is exactly right; none raises."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.sim.lone import LoneNode
from raftstore import entries
from raftstore.guard_messages import NUMBER_MAX, SHAPES, fault

GOOD: dict[str, dict[str, Any]] = {
    "append_entries": {
        "term": 1,
        "q": 1,
        "commit_index": 1,
        "prevLogIdx": 1,
        "prevLogTerm": 0,
        "entries": [[entries.REGULAR + b"x", 2, 1]],
    },
    "heartbeat": {"term": 1, "q": 1, "commit_index": 1},
    "next_node_idx": {"term": 1, "q": 1, "next_node_idx": 2, "reset": False, "success": True},
    "request_vote": {"term": 1, "last_log_index": 1, "last_log_term": 0, "transfer": False},
    "response_vote": {"term": 1},
    "timeout_now": {"term": 1},
    "term_notice": {"term": 1},
    "pre_vote": {"term": 1, "last_log_index": 1, "last_log_term": 0},
    "pre_vote_reply": {"term": 1, "current": 0, "ok": True},
    "read_probe": {"term": 1, "round": 1},
    "read_probe_reply": {"term": 1, "round": 1, "ok": True},
    "read_index": {"id": 1},
    "read_index_reply": {"id": 1, "index": None},
}


def good(kind: str, **fields: object) -> dict[str, Any]:
    return {"type": kind, **GOOD[kind], **fields}


def test_there_is_an_example_of_every_message() -> None:
    assert GOOD.keys() == SHAPES.keys()


@pytest.mark.parametrize("kind", SHAPES)
def test_a_well_formed_message_passes(kind: str) -> None:
    assert fault(good(kind)) is None


@pytest.mark.parametrize(("kind", "field"), [(k, f) for k, shape in SHAPES.items() for f in shape])
@pytest.mark.parametrize("value", [-1, 1.5, "1", b"1", NUMBER_MAX + 1, {}, [[1]], [None]])
def test_a_field_of_a_wrong_shape_is_named(kind: str, field: str, value: object) -> None:
    assert f"{kind}: field {field} is " in str(fault(good(kind, **{field: value})))


@pytest.mark.parametrize("kind", SHAPES)
def test_missing_and_unknown_fields_are_named(kind: str) -> None:
    message = good(kind)
    field = next(iter(GOOD[kind]))
    del message[field]
    assert f"missing fields ['{field}']" in str(fault(message))
    assert f"field {field} is missing" in str(fault({**message, "other": 1}))
    assert "unknown fields ['other']" in str(fault(good(kind, other=1)))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (None, "a message is a map, not NoneType"),
        ([], "a message is a map, not list"),
        ({}, "unknown message type None"),
        ({"type": "apply_command", "command": b""}, "unknown message type 'apply_command'"),
        ({"type": ["x"]}, "unknown message type list"),
        ({"type": "x" * 100}, "unknown message type 'xxx"),
    ],
)
def test_what_is_no_message_is_refused(message: object, reason: str) -> None:
    assert reason in str(fault(message))


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        ([[b"\x00x", 3, 1]], "entry 3 follows entry 1"),
        ([[b"\x00x", 2, 1], [b"\x00x", 2, 1]], "entry 2 follows entry 2"),
        ([[b"\x00x", 2, 1], [b"\x00x", 3, 0]], "entry 3 of term 0 follows one of term 1"),
        ([[b"\x00x", 2, 2]], "entry 2 of term 2 in a message of term 1"),
        ([[b"\x07x", 2, 1]], "field entries is list"),
        ([[b"\x02x", 2, 1]], "field entries is list"),
        ([[b"\x00x", 2]], "field entries is list"),
    ],
)
def test_entries_must_follow_one_another(items: object, reason: str) -> None:
    assert reason in str(fault(good("append_entries", entries=items)))


def test_entries_become_tuples() -> None:
    message = good("append_entries")
    assert fault(message) is None
    assert message["entries"] == [(entries.REGULAR + b"x", 2, 1)]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 5) | st.binary(max_size=4) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    """Near misses: a good message with some fields replaced."""
    kind = draw(st.sampled_from(sorted(SHAPES)))
    fields = draw(st.dictionaries(st.sampled_from(sorted(SHAPES[kind])), VALUES, max_size=3))
    return good(kind, **fields)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("BCZ"), messages()), max_size=12), st.booleans())
def test_no_sequence_of_messages_makes_a_node_raise(sequence: list[tuple[str, Any]], leads: bool) -> None:
    lone = LoneNode()
    if leads:
        lone.become_leader()
    term = lone.node.term
    for peer, message in sequence:
        lone.get(peer, message)
        lone.node.tick()
        lone.sync()
        assert lone.node.term >= term and lone.node.commit_index <= lone.node.last_index
        term = lone.node.term


def test_a_bad_message_is_counted_and_changes_nothing() -> None:
    lone = LoneNode()
    bad = lone.get("B", {"type": "append_entries", "term": 9})
    assert bad is not None and bad.peer == "B" and "missing fields" in bad.reason
    assert lone.node.term == 0 and lone.out() == [] and lone.node.counts["bad_message"] == 1
