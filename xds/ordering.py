"""Make before break: what waits for what, so that nothing refers to what the client lacks.

Additions go from the referred to the referring: clusters and their endpoints, then the listeners
and routes that name them. Envoy acknowledges a cluster when it is warm, that is, usable; a route
sent before that answers 503. Only *new* clusters are waited for: a changed one keeps serving in
its old form until the new one is warm.

Removals go the other way: a listener, then its routes, then their clusters. A cluster's endpoints
come last: when the cluster is gone the client unsubscribes by itself.

A client that reconnects presents its types one after the other. What it no longer should have is
removed when the types that may refer to it have had their turn.

Waiting is bounded (limits.ORDER_WAIT_S): a cluster that never warms must not keep an unrelated
change from a proxy.
"""

from __future__ import annotations

from collections.abc import Mapping

from xds.limits import ORDER_WAIT_S, RESUME_WAIT_S
from xds.subscription import Subscription
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, SEND_ORDER, Encoded, Snapshot

# Sending this type waits while resources of these types are being added.
AFTER_ADDED: Mapping[str, tuple[str, ...]] = {
    LISTENER: (CLUSTER, ENDPOINT),
    ROUTE: (CLUSTER, ENDPOINT),
}

# Removing resources of this type waits while anything of these types is under way.
REMOVED_AFTER: Mapping[str, tuple[str, ...]] = {
    ROUTE: (LISTENER,),
    CLUSTER: (LISTENER, ROUTE),
    ENDPOINT: (CLUSTER,),
    SECRET: (CLUSTER, LISTENER),
}

_RANK = {type_url: rank for rank, type_url in enumerate(SEND_ORDER)}
_NOTHING: Mapping[str, Encoded] = {}


def in_send_order(subscriptions: Mapping[str, Subscription]) -> list[Subscription]:
    """The subscriptions in the order of SEND_ORDER; other types after those."""
    return sorted(subscriptions.values(), key=lambda s: (_RANK.get(s.type_url, len(_RANK)), s.type_url))


def send_wait(type_url: str, subscriptions: Mapping[str, Subscription], snapshot: Snapshot) -> float:
    """For how long, at most, resources of this type wait for what they may refer to; 0: not at all."""
    for other in AFTER_ADDED.get(type_url, ()):
        waited_for = subscriptions.get(other)
        if waited_for is not None and waited_for.started and waited_for.adding(snapshot.get(other, _NOTHING)):
            return ORDER_WAIT_S
    return 0.0


def removal_wait(type_url: str, subscriptions: Mapping[str, Subscription]) -> float:
    """For how long, at most, removals of this type wait for what may still refer to them; 0: not at all."""
    wait = 0.0
    for other in REMOVED_AFTER.get(type_url, ()):
        referring = subscriptions.get(other)
        if referring is not None and referring.started:
            if not referring.quiet():
                return ORDER_WAIT_S
        elif subscriptions[type_url].resumed:
            wait = RESUME_WAIT_S  # the client is still saying what it has
    return wait
