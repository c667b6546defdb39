"""A resource with its insight, and how it is."""

from __future__ import annotations

from typing import Any

import pytest

from mesh.codec import decode
from mesh.overview import Status, dataplane_status, insight_of, to_overview, zone_proxy_status, zone_status
from mesh.resource import Resource
from mesh.view import View

OPEN = {"id": "1", "connectTime": "2024-01-01T00:00:00Z"}
CLOSED = {**OPEN, "disconnectTime": "2024-01-01T00:01:00Z"}


def insight(kind: str, *subscriptions: dict[str, Any]) -> Resource:
    return decode({"type": kind, "mesh": "m", "name": "a", "subscriptions": list(subscriptions)})


def proxy(*states: str | None, **networking: Any) -> Resource:
    inbound = [
        {"port": 80 + n, "tags": {"kuma.io/service": "web"}, **({"state": state} if state else {})}
        for n, state in enumerate(states)
    ]
    document = {
        "type": "Dataplane",
        "mesh": "m",
        "name": "a",
        "networking": {"inbound": inbound, **networking},
    }
    return decode(document)


@pytest.mark.parametrize(
    ("states", "networking", "status"),
    [
        ((None, "Ready"), {}, Status.ONLINE),
        (("Ready", "NotReady"), {}, Status.PARTIALLY_DEGRADED),
        (("NotReady",), {}, Status.OFFLINE),
        (("Ready", "Ignored"), {}, Status.ONLINE),
        ((), {}, Status.ONLINE),
        (("NotReady",), {"gateway": {}}, Status.ONLINE),
    ],
)
def test_a_connected_proxy(states: tuple[str | None, ...], networking: Any, status: Status) -> None:
    dataplane = proxy(*states, **networking)
    assert dataplane_status(dataplane, insight("DataplaneInsight", CLOSED, OPEN))[0] is status
    assert dataplane_status(dataplane, insight("DataplaneInsight", CLOSED))[0] is Status.OFFLINE
    assert dataplane_status(dataplane, None)[0] is Status.OFFLINE


def test_inbounds_that_are_not_ready_are_named() -> None:
    _, reasons = dataplane_status(proxy("Ready", "NotReady"), insight("DataplaneInsight", OPEN))
    assert reasons == ["inbound[port=81,svc=web] is not ready"]


def test_the_old_health_of_an_inbound_counts() -> None:
    document = {
        "type": "Dataplane",
        "name": "a",
        "networking": {"inbound": [{"port": 1, "health": {"ready": False}}]},
    }
    assert dataplane_status(decode(document), insight("DataplaneInsight", OPEN))[0] is Status.OFFLINE


def test_zones_are_online_while_enabled() -> None:
    on, off = (decode({"type": "Zone", "name": "a", "enabled": enabled}) for enabled in (True, False))
    assert zone_status(on, insight("ZoneInsight", OPEN)) is Status.ONLINE
    assert zone_status(off, insight("ZoneInsight", OPEN)) is Status.OFFLINE
    assert zone_status(on, None) is Status.OFFLINE


def test_zone_proxies() -> None:
    assert zone_proxy_status(insight("ZoneIngressInsight", OPEN)) is Status.ONLINE
    assert zone_proxy_status(insight("ZoneEgressInsight", CLOSED)) is Status.OFFLINE


def test_the_document_has_both() -> None:
    seen = insight("DataplaneInsight", OPEN)
    dataplane = proxy("Ready")
    assert insight_of(dataplane, View.of([dataplane, seen])) == seen
    document = to_overview(dataplane, seen)
    assert list(document)[:5] == ["type", "mesh", "name", "creationTime", "modificationTime"]
    assert document["type"] == "DataplaneOverview"
    assert document["dataplane"]["networking"]["inbound"][0]["port"] == 80
    assert document["dataplaneInsight"] == {"subscriptions": [OPEN]}
    assert "dataplaneInsight" not in to_overview(dataplane, None)
    with pytest.raises(KeyError):
        to_overview(decode({"type": "Secret", "name": "s"}), None)
