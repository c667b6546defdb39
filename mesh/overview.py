"""Overviews: a resource together with what was observed of it, and how it is.

`Dataplane` and `DataplaneInsight` make a `DataplaneOverview`; zones and zone proxies likewise.
Nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from mesh.jsonform import plain, rfc3339
from mesh.reader import Reader
from mesh.registry import KINDS
from mesh.resource import Resource


class Status(StrEnum):
    """How a proxy or a zone is, as people read it."""

    ONLINE = "Online"
    PARTIALLY_DEGRADED = "Partially degraded"
    OFFLINE = "Offline"


def insight_of(resource: Resource, reader: Reader) -> Resource | None:
    """What was observed of a resource; None when nothing was, or nothing ever is of its kind."""
    kind = KINDS[resource.kind].has_insight
    return reader.get(kind, resource.mesh, resource.name) if kind else None


def to_overview(resource: Resource, insight: Resource | None) -> dict[str, Any]:
    """The JSON object of an overview. Raises KeyError for a kind of which nothing is observed."""
    kind = KINDS[resource.kind]
    if not kind.has_insight:
        raise KeyError(resource.kind)
    document: dict[str, Any] = {"type": f"{resource.kind}Overview"}
    if kind.scope == "mesh":
        document["mesh"] = resource.mesh
    document["name"] = resource.name
    document["creationTime"] = rfc3339(resource.created_ms)
    document["modificationTime"] = rfc3339(resource.modified_ms)
    if resource.labels:
        document["labels"] = {key: resource.labels[key] for key in sorted(resource.labels)}
    document[_member(resource.kind)] = plain(resource.spec)
    if insight is not None:
        document[_member(kind.has_insight)] = plain(insight.spec)
    return document


def _member(kind: str) -> str:
    return kind[0].lower() + kind[1:]


def dataplane_status(dataplane: Resource, insight: Resource | None) -> tuple[Status, list[str]]:
    """How a proxy is, and a sentence for each inbound that is not ready.

    Offline: not connected, or no inbound is ready. Gateways, and proxies without inbounds, only need
    the connection.
    """
    networking = dataplane.spec.networking
    inbounds = [] if networking is None else [i for i in networking.inbound if i.state != "Ignored"]
    if networking is not None and networking.gateway is not None:
        inbounds = []
    reasons = list(_not_ready(inbounds))
    connected = insight is not None and insight.spec.is_online
    if not connected or (inbounds and len(reasons) == len(inbounds)):
        return Status.OFFLINE, reasons
    return (Status.PARTIALLY_DEGRADED if reasons else Status.ONLINE), reasons


def _not_ready(inbounds: list[Any]) -> Iterator[str]:
    for inbound in inbounds:
        if not inbound.is_ready:
            yield f"inbound[port={inbound.port},svc={inbound.service}] is not ready"


def zone_status(zone: Resource, insight: Resource | None) -> Status:
    """How a zone is: online while it is connected and enabled."""
    online = zone.spec.is_enabled and insight is not None and insight.spec.is_online
    return Status.ONLINE if online else Status.OFFLINE


def zone_proxy_status(insight: Resource | None) -> Status:
    """How a ZoneIngress or ZoneEgress is: online while it is connected."""
    return Status.ONLINE if insight is not None and insight.spec.is_online else Status.OFFLINE
