"""What a proxy's insight says of its connections: pure functions over the insight's document.

A subscription is one stream's life: which control plane, from when to when. The newest one
tells whether the proxy is connected, and its id decides who may take the proxy away
(docs/adr/0004).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SUBSCRIPTIONS_KEPT = 2  # Kuma's metrics.dataplane.subscriptionLimit

Document = dict[str, Any]


def connected(
    insight: Document | None, *, subscription: str, instance: str, now: str, version: Mapping[str, Any]
) -> list[Document]:
    """The subscriptions once the stream `subscription` has begun; the oldest fall out.

    A stream that is still open elsewhere is closed here: its control plane may have died with
    it, and a proxy has one stream.
    """
    kept = [
        {**each, "disconnectTime": each.get("disconnectTime", now)}
        for each in (insight or {}).get("subscriptions", [])
        if each["id"] != subscription
    ]
    new: Document = {"id": subscription, "controlPlaneInstanceId": instance, "connectTime": now, "status": {}}
    if version:
        new["version"] = dict(version)
    return [*kept, new][-SUBSCRIPTIONS_KEPT:]


def disconnected(insight: Document | None, *, subscription: str, now: str) -> list[Document] | None:
    """The subscriptions once that stream has ended; None when it is not the newest any more."""
    subscriptions: list[Document] = list((insight or {}).get("subscriptions", []))
    if not subscriptions or subscriptions[-1]["id"] != subscription:
        return None
    return [*subscriptions[:-1], {**subscriptions[-1], "disconnectTime": now}]


def may_be_removed(insight: Document | None, *, subscription: str) -> bool:
    """Whether that stream was the proxy's last, and has ended."""
    subscriptions = (insight or {}).get("subscriptions", [])
    return bool(
        subscriptions and subscriptions[-1]["id"] == subscription and "disconnectTime" in subscriptions[-1]
    )
