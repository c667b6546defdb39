"""What waits for what."""

from __future__ import annotations

import pytest

from xds.encode import encode
from xds.limits import ORDER_WAIT_S, RESUME_WAIT_S
from xds.ordering import in_send_order, removal_wait, send_wait
from xds.subscription import Subscription
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, SEND_ORDER

NEW = {CLUSTER: {"new": encode(CLUSTER, "new", b"")}}


def subscriptions(*types: str, has: str = "") -> dict[str, Subscription]:
    """Started subscriptions; each has `has`, in a wildcard."""
    found = {}
    for type_url in types:
        subscription = found[type_url] = Subscription(type_url)
        subscription.start({has: "1"} if has else {})
        subscription.subscribe_wildcard(())
        subscription.dirty.clear()
    return found


def test_the_order_is_that_of_the_contract_and_strangers_come_last() -> None:
    stranger = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
    found = in_send_order(subscriptions(stranger, *reversed(SEND_ORDER)))
    assert [s.type_url for s in found] == [*SEND_ORDER, stranger]


@pytest.mark.parametrize(
    ("type_url", "wait"), [(LISTENER, ORDER_WAIT_S), (ROUTE, ORDER_WAIT_S), (SECRET, 0.0), (ENDPOINT, 0.0)]
)
def test_listeners_and_routes_wait_for_new_clusters(type_url: str, wait: float) -> None:
    found = subscriptions(CLUSTER, type_url)
    found[CLUSTER].changed(["new"])
    assert send_wait(type_url, found, NEW) == wait


def test_nobody_waits_for_clusters_that_the_client_does_not_use() -> None:
    assert send_wait(ROUTE, subscriptions(ROUTE), NEW) == 0.0


@pytest.mark.parametrize(
    ("removed", "referring"), [(CLUSTER, ROUTE), (CLUSTER, LISTENER), (ROUTE, LISTENER), (SECRET, LISTENER)]
)
def test_removals_wait_for_what_may_refer_to_them(removed: str, referring: str) -> None:
    found = subscriptions(removed, referring)
    assert removal_wait(removed, found) == 0.0
    found[referring].changed(["x"])
    assert removal_wait(removed, found) == ORDER_WAIT_S


def test_removals_wait_until_a_client_that_came_back_has_named_its_types() -> None:
    assert removal_wait(CLUSTER, subscriptions(CLUSTER, has="old")) == RESUME_WAIT_S
    assert removal_wait(CLUSTER, subscriptions(CLUSTER)) == 0.0
    assert removal_wait(CLUSTER, subscriptions(CLUSTER, LISTENER, ROUTE, has="old")) == 0.0
