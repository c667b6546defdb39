"""Errors and statuses over the socket."""

from __future__ import annotations

import pytest

from raftstore.admin import Refused
from raftstore.errors import (
    Compacted,
    Corrupt,
    Overloaded,
    StoreError,
    TooLarge,
    Unavailable,
    UnknownOutcome,
)
from raftstore.frames import FrameDecoder, encode
from raftstore.port import Member, Status
from raftstore.wire import error_from_wire, error_to_wire, status_from_wire, status_to_wire


def through_a_frame(value: object) -> object:
    decoder = FrameDecoder(1 << 20)
    decoder.feed(encode(value, 1 << 20))
    found = decoder.next()
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("no quorum", "n2"),
        Unavailable("no quorum"),
        UnknownOutcome("late"),
        Overloaded("busy", 2.5),
        TooLarge("value: 9 bytes"),
        Compacted(3, 9),
        Refused("not now"),
    ],
)
def test_an_error_arrives_as_what_it_was(error: StoreError) -> None:
    wire = through_a_frame(error_to_wire(error))
    assert isinstance(wire, tuple)
    found = error_from_wire(*wire)
    assert type(found) is type(error) and str(found) == str(error) and vars(found) == vars(error)


def test_an_error_that_no_client_can_act_on_arrives_as_a_plain_one() -> None:
    found = error_from_wire(*error_to_wire(Corrupt("segment 1")))
    assert type(found) is StoreError and str(found) == "segment 1"


def test_a_status_arrives_as_it_was() -> None:
    members = (Member("n1", "h:1", "leader", True, None), Member("n2", "h:2", "follower", False, 4))
    status = Status("n1", "c", "leader", "n1", 3, 10, 9, 10, True, members, "disk full")
    assert status_from_wire(through_a_frame(status_to_wire(status))) == status


@pytest.mark.parametrize(
    "wire", [None, (), (1,), ("n1", "c", "leader", "n1", 3, 10, 9, 10, True, ((1,),), "")]
)
def test_other_shapes_are_refused(wire: object) -> None:
    with pytest.raises(ValueError, match="unknown shape"):
        status_from_wire(wire)
    with pytest.raises(ValueError, match="unknown shape"):
        error_from_wire(1, wire, wire)
