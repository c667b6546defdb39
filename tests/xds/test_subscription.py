"""One type on one stream, by itself: who is to blame, what is due, what is known."""

from __future__ import annotations

import pytest

from xds.encode import empty_assignment, encode
from xds.subscription import Plan, Subscription, culprits
from xds.types import CLUSTER, ENDPOINT, Encoded


def resource(name: str, content: bytes = b"") -> Encoded:
    return encode(CLUSTER, name, content)


def started(type_url: str = CLUSTER, **has: str) -> Subscription:
    subscription = Subscription(type_url)
    subscription.start(has)
    return subscription


@pytest.mark.parametrize(
    ("message", "blamed"),
    [
        ("Error adding/updating listener(s) in:80: no filter chain", ("in:80",)),
        ("Error adding/updating listener(s) in:80: x, in:8080: y", ("in:80", "in:8080")),
        ("Error adding/updating listener(s) in:8080: y", ("in:8080",)),
        ("Proto constraint validation failed (value.name)", ()),
        ("prefix-in:80 in:80-suffix a/in:80", ()),
        ("Error adding/updating listener(s) inbound: 'in:80' is bad.", ("in:80",)),
    ],
)
def test_blame_goes_to_whole_names_only(message: str, blamed: tuple[str, ...]) -> None:
    assert culprits(["in:80", "in:8080"], message) == blamed


def test_who_is_alone_is_to_blame() -> None:
    assert culprits(["a"], "out of memory") == ("a",)


def test_a_plan_is_in_the_order_of_names() -> None:
    subscription = started()
    resources = {name: resource(name) for name in ("b", "a", "c")}
    subscription.subscribe_wildcard(resources)
    plan = subscription.plan(resources, removals=True)
    assert [r.name for r in plan.upserts] == ["a", "b", "c"]


def test_names_that_need_nothing_are_cleared_by_planning() -> None:
    subscription = started(a=resource("a").version)
    subscription.resume(["a"])
    subscription.changed(["a", "not-wanted"])
    assert not subscription.plan({"a": resource("a")}, removals=True)
    assert subscription.quiet()


def test_removals_stay_due_while_they_are_held() -> None:
    subscription = started(a="1", b="1")
    subscription.wildcard = True
    assert subscription.plan({}, removals=False) == Plan([], [])
    assert subscription.due()
    assert subscription.plan({}, removals=True) == Plan([], ["a", "b"])


def test_endpoints_that_vanished_are_emptied_once() -> None:
    subscription = started(ENDPOINT, a="1")
    subscription.resume(["a"])
    plan = subscription.plan({}, removals=True)
    assert plan.upserts == [empty_assignment("a")]
    subscription.sent(plan, "1", 0.0)
    subscription.acked()
    subscription.changed(["a"])
    assert not subscription.plan({}, removals=True)


def test_what_is_new_is_told_from_what_changes() -> None:
    subscription = started(a="1")
    subscription.wildcard = True
    resources = {"a": resource("a"), "b": resource("b")}
    subscription.changed(["a"])
    assert not subscription.adding(resources)
    subscription.changed(["b"])
    assert subscription.adding(resources)
    subscription.sent(subscription.plan(resources, True), "1", 0.0)
    assert subscription.adding(resources), "b is on its way"
    subscription.acked()
    assert not subscription.adding(resources)


def test_an_answer_without_a_response_is_a_fault_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="without a response"):
        started().acked()


def test_names_are_forgotten_when_they_are_no_longer_wanted() -> None:
    subscription = started(a="1")
    subscription.resume(["a"])
    subscription.unsubscribe(["a"])
    assert (subscription.has, subscription.names, subscription.dirty) == ({}, set(), set())
