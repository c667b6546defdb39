"""`raftmesh inspect dataplane NAME --type status`: what a proxy was sent, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from cp.cli.tables import age, table

Document = Mapping[str, Any]
_TYPES = ("cds", "eds", "lds", "rds", "total")
_COUNTERS = ("responsesSent", "responsesAcknowledged", "responsesRejected")


def status_text(insight: Document, now: datetime) -> str:
    """The newest stream of a proxy, by xDS type; then each refused resource with Envoy's message."""
    subscriptions = insight.get("subscriptions") or []
    if not subscriptions:
        return "never connected\n"
    newest: Document = subscriptions[-1]
    status: Document = newest.get("status") or {}
    rows = [
        [kind, *(str((status.get(kind) or {}).get(counter) or 0) for counter in _COUNTERS)]
        for kind in _TYPES
        if kind in status
    ]
    text = _connection(newest, status, now)
    if rows:
        text += "\n" + table(["TYPE", "SENT", "ACKNOWLEDGED", "REJECTED"], rows)
    return text + "".join(_rejections(status))


def _connection(newest: Document, status: Document, now: datetime) -> str:
    instance = newest.get("controlPlaneInstanceId") or "?"
    ended = newest.get("disconnectTime")
    state = f"disconnected {age(ended, now)} ago from" if ended else "connected to"
    written = status.get("lastUpdateTime") or ""
    counted = f"; counted {age(written, now)} ago" if written else ""
    return f"{state} {instance}, since {newest.get('connectTime') or '?'}{counted}\n"


def _rejections(status: Document) -> Iterator[str]:
    for each in status.get("rejections") or ():
        yield f"\nrefuses {each['type'].rpartition('.')[2]} {each['name']} (version {each['version']})\n"
        yield f"  {each['message']}\n"
