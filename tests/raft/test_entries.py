"""Entries: kinds, membership changes, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore import entries
from raftstore.entries import Change, is_payload

ABC = frozenset("ABC")


def test_a_change_names_the_whole_membership_before_and_after() -> None:
    change = Change.of("add", "D", ABC)
    assert (change.before, change.after) == (("A", "B", "C"), ("A", "B", "C", "D"))
    assert Change.decode(change.encode()) == change


@pytest.mark.parametrize(
    ("op", "node", "voters", "reason"),
    [
        ("add", "A", ABC, "A is a voter already"),
        ("rem", "D", ABC, "D is not a voter"),
        ("rem", "A", frozenset("A"), "0 voters: there must be 1 to 9"),
        ("add", "Z", frozenset("ABCDEFGHI"), "10 voters"),
        ("add", "", ABC, "'' is not a node id"),
        ("add", "n" * 300, ABC, "is not a node id"),
    ],
)
def test_a_change_that_is_none_is_refused(op: str, node: str, voters: frozenset[str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Change.of(op, node, voters)


@pytest.mark.parametrize(
    "value",
    [
        None,
        ("add", "D"),
        ("set", "D", ("A",), ("A", "D")),
        ("add", 7, ("A",), ("A",)),
        ("add", "D", ("A",), ("A",)),
        ("add", "D", ("A", "D"), ("A",)),
        ("add", "D", ("A",), ("A", "D", "E")),
        ("add", "D", "A", ("A", "D")),
    ],
)
def test_a_malformed_change_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="membership change"):
        Change.from_wire(value)


@given(st.binary(max_size=200))
def test_no_bytes_make_decoding_raise_anything_else(data: bytes) -> None:
    try:
        Change.decode(entries.MEMBERSHIP + data)
    except ValueError:
        assert not is_payload(entries.MEMBERSHIP + data, 1000)
    else:
        assert is_payload(entries.MEMBERSHIP + data, 1000)


def test_payloads() -> None:
    assert is_payload(entries.REGULAR + b"x", 10) and is_payload(entries.NO_OP, 10)
    assert not is_payload(b"", 10)
    assert not is_payload(entries.REGULAR + b"x" * 10, 10)
    assert not is_payload(b"\x03", 10)
    assert not is_payload(entries.NO_OP + b"x", 10)
    assert not is_payload("text", 10)


def test_an_oversized_change_is_refused() -> None:
    with pytest.raises(ValueError, match="are more than a membership change can take"):
        entries.unpack(b"\xc0" * (entries.CHANGE_BYTES_MAX + 1))
