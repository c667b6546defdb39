"""The tables of `raftmesh inspect`: columns, and how each row is read from the API's answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from cp.cli.get import tags_of
from cp.cli.tables import age
from mesh.codec import decode
from mesh.overview import dataplane_status
from mesh.resource import Resource

Document = Mapping[str, Any]
Row = Callable[[Document, datetime], list[str]]

_CONNECTION = ("LAST CONNECTED AGO", "LAST UPDATED AGO", "TOTAL UPDATES", "TOTAL ERRORS")
_DATAPLANES = (
    "MESH",
    "NAME",
    "TAGS",
    "STATUS",
    *_CONNECTION,
    "CERT REGENERATED AGO",
    "CERT EXPIRATION",
    "CERT REGENERATIONS",
    "CERT BACKEND",
    "SUPPORTED CERT BACKENDS",
    "KUMA-DP VERSION",
    "ENVOY VERSION",
    "DEPENDENCIES VERSIONS",
    "NOTES",
)
_ZONES = ("NAME", "STATUS", *_CONNECTION, "ZONE-CP VERSION", "BACKEND")
_ZONE_PROXIES = ("NAME", "STATUS", *_CONNECTION, "KUMA-DP VERSION", "ENVOY VERSION")
# The kinds that Kuma counts per mesh, in the order of its columns.
_COUNTED = {
    "TRAFFIC PERMISSIONS": "TrafficPermission",
    "TRAFFIC ROUTES": "TrafficRoute",
    "CIRCUIT BREAKERS": "CircuitBreaker",
    "HEALTH CHECKS": "HealthCheck",
    "FAULT INJECTIONS": "FaultInjection",
    "EXTERNAL SERVICES": "ExternalService",
    "TRAFFIC TRACES": "TrafficTrace",
    "TRAFFIC LOGS": "TrafficLog",
    "PROXY TEMPLATES": "ProxyTemplate",
    "RATE LIMITS": "RateLimit",
}


def _at(document: Document, *path: str) -> Any:
    """What is found along a path; None where it ends early."""
    found: Any = document
    for part in path:
        found = (found or {}).get(part)
    return found


def _last(insight: Document) -> Document:
    """The newest subscription."""
    subscriptions: list[Document] = insight.get("subscriptions") or [{}]
    return subscriptions[-1]


def _sum(insight: Document, counter: str) -> str:
    found = (_at(one, "status", "total", counter) for one in insight.get("subscriptions") or ())
    return str(sum(int(value or 0) for value in found))


def _is_online(insight: Document) -> bool:
    return any(
        s.get("connectTime") and not s.get("disconnectTime") for s in insight.get("subscriptions") or ()
    )


def _connection(insight: Document, now: datetime) -> list[str]:
    last = _last(insight)
    return [
        age(last.get("connectTime") or "", now),
        age(_at(last, "status", "lastUpdateTime") or "", now),
        _sum(insight, "responsesSent"),
        _sum(insight, "responsesRejected"),
    ]


def _versions(insight: Document) -> list[str]:
    last = _last(insight)
    return [str(_at(last, "version", part, "version") or "") for part in ("kumaDp", "envoy")]


def _dataplane(overview: Document, now: datetime) -> list[str]:
    insight = overview.get("dataplaneInsight") or {}
    status, notes = dataplane_status(
        _stored("Dataplane", overview, overview.get("dataplane") or {}),
        _stored("DataplaneInsight", overview, insight),
    )
    mtls = insight.get("mTLS")
    dependencies = _at(_last(insight), "version", "dependencies") or {}
    return [
        overview.get("mesh", ""),
        overview["name"],
        tags_of(overview.get("dataplane") or {}),
        str(status),
        *_connection(insight, now),
        age(_at(mtls or {}, "lastCertificateRegeneration") or "", now),
        _date(_at(mtls or {}, "certificateExpirationTime")),
        str(_at(mtls or {}, "certificateRegenerations") or 0),
        _cert_backend(mtls),
        ",".join(_at(mtls or {}, "supportedBackends") or ()),
        *_versions(insight),
        ", ".join(f"{name}: {version}" for name, version in sorted(dependencies.items())) or "-",
        ";".join(notes),
    ]


def _cert_backend(mtls: Document | None) -> str:
    """ "-" without a certificate; "unknown" when the control plane that issued it did not say."""
    return "-" if mtls is None else str(mtls.get("issuedBackend") or "unknown")


def _stored(kind: str, overview: Document, spec: Document) -> Resource:
    return decode({"type": kind, "mesh": overview.get("mesh", ""), "name": overview["name"], **spec})


def _date(time: str | None) -> str:
    """A moment to the second, in UTC; "-" for none."""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if time else "-"


def _zone(overview: Document, now: datetime) -> list[str]:
    insight = overview.get("zoneInsight") or {}
    enabled = _at(overview, "zone", "enabled") is not False
    last = _last(insight)
    return [
        overview["name"],
        "Online" if enabled and _is_online(insight) else "Offline",
        *_connection(insight, now),
        str(_at(last, "version", "kumaCp", "version") or ""),
        _backend(last.get("config") or ""),
    ]


def _backend(config: str) -> str:
    """The store of a zone's control plane, by the configuration that it told."""
    try:
        return str(_at(json.loads(config or "{}"), "store", "type") or "")
    except (ValueError, AttributeError):
        return ""


def _zone_proxy(member: str) -> Row:
    def row(overview: Document, now: datetime) -> list[str]:
        insight = overview.get(member) or {}
        status = "Online" if _is_online(insight) else "Offline"
        return [overview["name"], status, *_connection(insight, now), *_versions(insight)]

    return row


def _mesh(insight: Document, now: datetime) -> list[str]:
    online, total = (_at(insight, "dataplanes", part) or 0 for part in ("online", "total"))
    counts = [str(_at(insight, "policies", kind, "total") or 0) for kind in _COUNTED.values()]
    return [insight["name"], f"{online}/{total}", *counts]


_STATUS = {"online": "Online", "partially_degraded": "Partially degraded"}


def _service(insight: Document, now: datetime) -> list[str]:
    online, total = (_at(insight, "dataplanes", part) or 0 for part in ("online", "total"))
    status = _STATUS.get(insight.get("status") or "", "Offline")
    return [insight["name"], status, f"{online}/{total}"]


# by the last part of the list's path that names a kind
TABLES: Mapping[str, tuple[tuple[str, ...], Row]] = {
    "dataplanes": (_DATAPLANES, _dataplane),
    "zones": (_ZONES, _zone),
    "zoneingresses": (_ZONE_PROXIES, _zone_proxy("zoneIngressInsight")),
    "zoneegresses": (_ZONE_PROXIES, _zone_proxy("zoneEgressInsight")),
    "mesh-insights": (("MESH", "DATAPLANES", *_COUNTED), _mesh),
    "service-insights": (("SERVICE", "STATUS", "DATAPLANES"), _service),
}
