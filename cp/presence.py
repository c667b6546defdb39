"""What a proxy's insight says of its connections: pure functions over the insight's document.

A subscription is one stream's life: which control plane, from when to when. The newest one
tells whether the proxy is connected, and its id decides who may take the proxy away
(docs/adr/0004).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xds.status import StreamStatus, TypeStatus
from xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE

# What an insight says of refused resources is replicated: enough to see what is wrong. All of it, with
# Envoy's whole message, is on the worker that holds the stream (`GET /xds/streams`).
REJECTIONS_MAX = 20
REASON_CHARS_MAX = 1_000

COUNTED = {"cds": CLUSTER, "eds": ENDPOINT, "lds": LISTENER, "rds": ROUTE}
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


def disconnected(
    insight: Document | None, *, subscription: str, now: str, status: Document | None = None
) -> list[Document] | None:
    """The subscriptions once that stream has ended; None when it is not the newest any more."""
    subscriptions: list[Document] = list((insight or {}).get("subscriptions", []))
    if not subscriptions or subscriptions[-1]["id"] != subscription:
        return None
    last = {**subscriptions[-1], "disconnectTime": now}
    if status is not None:
        last["status"] = dict(status)
    return [*subscriptions[:-1], last]


def reported(insight: Document | None, *, subscription: str, status: Document) -> list[Document] | None:
    """The subscriptions with what came of that stream so far; None when there is nothing to write."""
    subscriptions: list[Document] = list((insight or {}).get("subscriptions", []))
    if not subscriptions or subscriptions[-1]["id"] != subscription:
        return None
    if _same(subscriptions[-1].get("status") or {}, status):
        return None
    return [*subscriptions[:-1], {**subscriptions[-1], "status": dict(status)}]


def _same(old: Document, new: Document) -> bool:
    """Whether two statuses tell the same, whenever they were written."""
    return {**old, "lastUpdateTime": ""} == {**new, "lastUpdateTime": ""}


def stream_status(status: StreamStatus, now: str) -> Document:
    """What a stream sent and what came of it, as an insight tells it: Kuma's counters, and what is refused."""
    document: Document = {"lastUpdateTime": now, "total": _counters(status.types.values())}
    for name, type_url in COUNTED.items():
        if type_url in status.types:
            document[name] = _counters([status.types[type_url]])
    rejections = [
        {"type": type_url, "name": name, "version": each.version, "message": each.message[:REASON_CHARS_MAX]}
        for type_url, of_type in sorted(status.types.items())
        for name, each in sorted(of_type.rejections.items())
    ]
    if rejections:
        document["rejections"] = rejections[:REJECTIONS_MAX]
    return document


def certified(mtls: Document | None, issued: Document, backends: Sequence[str]) -> Document | None:
    """What an insight tells of a proxy's certificate; None when it tells that already.

    issued: the backend (`issuedBackend`) and the times of the certificate. backends: those of the mesh. Each
    certificate that is not the one of before counts as a regeneration, on whichever replica it was issued.
    """
    before = mtls or {}
    document = {**issued, "supportedBackends": list(backends)}
    if all(before.get(key) == value for key, value in document.items()):
        return None
    count = int(before.get("certificateRegenerations", 0))
    renewed = before.get("lastCertificateRegeneration") != issued["lastCertificateRegeneration"]
    return {**document, "certificateRegenerations": count + renewed}


def _counters(types: Iterable[TypeStatus]) -> Document:
    found = list(types)
    counted = {
        "responsesSent": sum(each.sent for each in found),
        "responsesAcknowledged": sum(each.acked for each in found),
        "responsesRejected": sum(each.rejected for each in found),
    }
    return {name: str(count) for name, count in counted.items() if count}


def may_be_removed(insight: Document | None, *, subscription: str) -> bool:
    """Whether that stream was the proxy's last, and has ended."""
    subscriptions = (insight or {}).get("subscriptions", [])
    return bool(
        subscriptions and subscriptions[-1]["id"] == subscription and "disconnectTime" in subscriptions[-1]
    )
