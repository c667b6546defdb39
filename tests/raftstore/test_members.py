"""The roster: what operators may ask, and that every interrupted prefix of a change is gone on from."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest

from raftstore.errors import Corrupt
from raftstore.members import (
    EVERYBODY_ELSE,
    Entry,
    Refused,
    Roster,
    Step,
    Wanted,
    added,
    decode,
    encode,
    is_gone,
    next_step,
    promoted,
    removed,
    replaced,
    unfinished,
)

VOTER, OBSERVER, REMOVED = Wanted.VOTER, Wanted.OBSERVER, Wanted.REMOVED
ABC = frozenset("abc")


def roster(**wanted: Wanted) -> dict[str, Entry]:
    return {node_id: Entry(f"{node_id}:1", want) for node_id, want in wanted.items()}


def test_a_roster_survives_encoding() -> None:
    some = roster(a=VOTER, b=OBSERVER, c=REMOVED)
    assert decode(encode(some)) == some
    assert decode(None) == {}


@pytest.mark.parametrize("value", [b"", b"[]", b'{"a": 1}', b'{"a": {"address": "x", "wanted": "king"}}'])
def test_a_roster_that_is_none_is_corrupt(value: bytes) -> None:
    with pytest.raises(Corrupt, match="list of members"):
        decode(value)


def test_a_new_replica_is_registered_as_what_it_shall_be() -> None:
    assert added({}, ABC, "d", "d:1", OBSERVER) == roster(d=OBSERVER)
    assert added({}, ABC, "d", "d:1", VOTER) == roster(d=VOTER)


def test_one_change_at_a_time_unless_it_is_the_same_replica() -> None:
    under_way = roster(d=VOTER)
    with pytest.raises(Refused, match="one change at a time: d is still to become a voter"):
        added(under_way, ABC, "e", "e:1", OBSERVER)
    with pytest.raises(Refused, match="one change at a time"):
        removed(under_way, ABC, "a", "a:1")
    assert removed(under_way, ABC, "d", "d:1")["d"].wanted is REMOVED
    assert added(under_way, ABC, "d", "d:2", VOTER)["d"].address == "d:2"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda: added({}, ABC, "a b", "d:1", VOTER), "node id"),
        (lambda: added({}, ABC, "a", "a:1", OBSERVER), "a is a voter"),
        (lambda: added(roster(d=OBSERVER), ABC, "e", "d:1", OBSERVER), "address of d"),
        (lambda: added({}, "abcdefghi", "j", "j:1", VOTER), "at most 9"),
        (lambda: added({str(n): Entry(str(n), OBSERVER) for n in range(64)}, ABC, "d", "d:1", OBSERVER), "64"),
        (lambda: promoted({}, ABC, "a"), "a is a voter already"),
        (lambda: promoted(roster(d=OBSERVER, e=REMOVED), ABC, "e"), "not an observer of this cluster; observers: d"),
        (lambda: removed({}, ABC, "z", ""), "not a member"),
        (lambda: removed(roster(z=REMOVED), ABC, "z", ""), "not a member"),
        (lambda: removed({}, "a", "a", ""), "only voter"),
    ],
)  # fmt: skip
def test_what_is_refused(change: object, why: str) -> None:
    with pytest.raises(Refused, match=why):
        change()  # type: ignore[operator]


def test_a_replacement_is_one_change_of_the_roster() -> None:
    both = replaced({}, ABC, "a", "d", "d:1")
    assert {node_id: line.wanted for node_id, line in both.items()} == {"a": REMOVED, "d": VOTER}
    assert next_step(both, ABC, "b", {"c": 1, "d": 1}) == Step("remove", "a")
    assert next_step(both, ABC - {"a"}, "b", {"d": 1}) == Step("add", "d")
    with pytest.raises(Refused, match="--recover-from-peers"):
        replaced({}, ABC, "a", "a", "a:2")
    with pytest.raises(Refused, match="not a member"):
        replaced({}, ABC, "z", "d", "d:1")


@pytest.mark.parametrize("was", [VOTER, OBSERVER])
def test_a_replica_that_was_added_is_replaced_like_one_of_the_first(was: Wanted) -> None:
    voters = {*ABC, "d"} if was is VOTER else ABC
    both = replaced(roster(d=was), voters, "d", "e", "e:1")
    assert {node_id: line.wanted for node_id, line in both.items()} == {"d": REMOVED, "e": VOTER}
    with pytest.raises(Refused, match="f is still to become a voter"):
        replaced(roster(d=was, f=VOTER), voters, "d", "e", "e:1")


def test_marks_of_the_removed_make_room_at_the_limit() -> None:
    full = {str(n): Entry(str(n), REMOVED) for n in range(64)}
    assert set(added(full, ABC, "d", "d:1", VOTER)) == {"d"}


def test_a_replica_is_added_when_it_has_caught_up_and_not_before() -> None:
    wanted = roster(d=VOTER)
    assert next_step(wanted, ABC, "a", {"b": 9, "c": 9}) is None
    assert next_step(wanted, ABC, "a", {"d": 9}) == Step("add", "d")
    assert next_step(wanted, {*ABC, "d"}, "a", {"d": 9}) is None
    assert next_step(roster(d=OBSERVER), ABC, "a", {"d": 9}) is None


def test_a_leader_that_shall_go_hands_over_to_the_best_of_those_that_stay() -> None:
    wanted = roster(a=REMOVED, c=REMOVED)
    assert next_step(wanted, ABC, "a", {"b": 7, "c": 9}) == Step("transfer", "b")
    assert next_step(roster(a=REMOVED), ABC, "a", {"b": 7, "c": 9}) == Step("transfer", "c")
    assert next_step(roster(a=REMOVED), ABC, "a", {}) is None
    assert next_step(roster(a=REMOVED), ABC, "b", {"c": 9}) == Step("remove", "a")


def test_nobody_is_removed_whom_the_quorum_needs() -> None:
    """With c dead, a without b could commit nothing any more, not even that b comes back."""
    wanted = roster(b=REMOVED)
    assert next_step(wanted, ABC, "a", {"b": 9}) is None
    assert next_step(wanted, ABC, "a", {"b": 9, "c": 9}) == Step("remove", "b")
    assert next_step(roster(c=REMOVED), ABC, "a", {"b": 9}) == Step("remove", "c"), "the dead one may go"
    assert next_step(wanted, "ab", "a", {}) == Step("remove", "b")
    five = "abcde"
    assert next_step(wanted, five, "a", {"b": 9, "c": 9}) is None
    assert next_step(roster(e=REMOVED), five, "a", {"b": 9, "c": 9}) == Step("remove", "e")
    instead = roster(b=REMOVED, d=VOTER)
    assert next_step(instead, ABC, "a", {"b": 9, "d": 9}) == Step("add", "d"), "its successor comes first"
    assert next_step(instead, {*ABC, "d"}, "a", {"b": 9, "d": 9}) == Step("remove", "b")


def test_who_is_gone() -> None:
    some = roster(c=REMOVED, d=OBSERVER, e=REMOVED)
    assert [who for who in "abcdef" if is_gone(some, ABC, who)] == ["e"]
    alone = {EVERYBODY_ELSE: Entry("", REMOVED), "d": Entry("d:1", OBSERVER)}
    assert [who for who in "abcd" if is_gone(alone, "a", who)] == ["b", "c"]
    full = alone | {str(n): Entry(str(n), REMOVED) for n in range(62)}
    assert set(added(full, "a", "z", "z:1", OBSERVER)) == {EVERYBODY_ELSE, "d", "z"}


# --- every interrupted prefix ------------------------------------------------------------------


def run(wanted: Roster, voters: frozenset[str], leader: str, lead: random.Random) -> Iterator[frozenset[str]]:
    """The memberships on the way; after each step, done or lost, somebody else may lead."""
    while (step := next_step(wanted, voters, leader, dict.fromkeys([*voters, *wanted], 1))) is not None:
        if step.op == "transfer":
            assert step.node_id in voters
            leader = step.node_id
        elif lead.random() < 0.7:  # else the leader died before its step was committed
            voters = voters | {step.node_id} if step.op == "add" else voters - {step.node_id}
            yield voters
        if lead.random() < 0.5:
            leader = lead.choice(sorted(voters))


COMMANDS = [
    roster(d=VOTER),
    roster(a=REMOVED),
    roster(b=REMOVED),
    roster(d=OBSERVER),
    roster(a=REMOVED, d=VOTER),
]


@pytest.mark.parametrize(
    "wanted", COMMANDS, ids=lambda wanted: "+".join(f"{k}-{v.wanted}" for k, v in wanted.items())
)
@pytest.mark.parametrize("leader", sorted(ABC))
def test_from_every_prefix_of_a_change_the_next_leader_reaches_the_end(wanted: Roster, leader: str) -> None:
    for seed in range(50):
        lead = random.Random(seed)
        before, end = ABC, {*ABC} - {n for n, e in wanted.items() if e.wanted is REMOVED}
        end |= {n for n, e in wanted.items() if e.wanted is VOTER}
        seen = [before, *run(wanted, before, leader, lead)]
        for one, other in itertools.pairwise(seen):
            assert len(one ^ other) == 1, "two changes at once could elect two leaders"
            assert not one.isdisjoint(other)
        assert seen[-1] == end
        assert unfinished(wanted, seen[-1]) == ""
        for prefix in seen:  # whoever starts anew from here ends there, too
            again = [prefix, *run(wanted, prefix, min(prefix), random.Random(seed + 1))]
            assert again[-1] == end


def test_what_an_operator_takes_back_is_undone() -> None:
    """Added, then removed before it caught up; removed and added again at another address."""
    under_way = added({}, ABC, "d", "d:1", VOTER)
    back = removed(under_way, ABC, "d", "d:1")
    assert next_step(back, ABC, "a", {"d": 1}) is None and unfinished(back, ABC) == ""
    again = added(back, ABC, "d", "d:2", VOTER)
    assert next_step(again, ABC, "a", {"d": 1}) == Step("add", "d")
