"""Insights: what is counted of a mesh, its services, and of everything.

Kuma stores these objects and recomputes them on timers.  Here they are functions of the resources, computed
when somebody asks, so they are never behind what they count.  One that is stored nevertheless (a copy from
another cluster) is taken as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mesh.kinds.insights import (
    DataplanesByType,
    DataplaneStat,
    DpVersions,
    MeshInsight,
    MeshMtls,
    Service,
    ServiceDataplanes,
    ServiceInsight,
    ServiceStat,
    ServiceType,
    Stat,
)
from mesh.overview import Status, dataplane_status, insight_of, zone_proxy_status, zone_status
from mesh.reader import Reader
from mesh.registry import KINDS
from mesh.resource import ZONE_TAG, Resource

Json = dict[str, Any]
UNKNOWN_VERSION = "unknown"
# What is observed is not counted among what exists.
_OBSERVED = frozenset(name for name in KINDS if name.endswith("Insight"))


class _Counts(Counter[Status]):
    """How many proxies are in which state."""

    def stat(self) -> DataplaneStat:
        return DataplaneStat(
            total=self.total(),
            online=self[Status.ONLINE],
            offline=self[Status.OFFLINE],
            partially_degraded=self[Status.PARTIALLY_DEGRADED],
        )


class _Tally(dict[str, _Counts]):
    """Counts of proxies by some name: a version, a backend."""

    def add(self, name: str, status: Status) -> None:
        self.setdefault(name, _Counts())[status] += 1

    def stats(self) -> dict[str, DataplaneStat]:
        return {name: self[name].stat() for name in sorted(self)}


def all_services_name(mesh: str) -> str:
    """The name of the one ServiceInsight of a mesh."""
    return f"all-services-{mesh}"


# --- a mesh -------------------------------------------------------------------------------


def mesh_insight(reader: Reader, mesh: str) -> Resource:
    """The MeshInsight of a mesh."""
    return reader.get("MeshInsight", "", mesh) or Resource("MeshInsight", "", mesh, {}, _mesh(reader, mesh))


def _mesh(reader: Reader, mesh: str) -> MeshInsight:
    by_type = {"standard": _Counts(), "gateway_builtin": _Counts(), "gateway_delegated": _Counts()}
    kuma_dp, envoy, issued, supported = _Tally(), _Tally(), _Tally(), _Tally()
    for dataplane in reader.list("Dataplane", mesh):
        insight = insight_of(dataplane, reader)
        status, _ = dataplane_status(dataplane, insight)
        by_type[_proxy_type(dataplane)][status] += 1
        for tally, version in zip((kuma_dp, envoy), _versions(insight), strict=True):
            tally.add(version, status)
        if insight is not None and insight.spec.mtls is not None:
            issued.add(insight.spec.mtls.issued_backend, status)
            for backend in insight.spec.mtls.supported_backends:
                supported.add(backend, status)
    gateways = _Counts(by_type["gateway_builtin"] + by_type["gateway_delegated"])
    resources = _resources(reader, mesh)
    return MeshInsight(
        dataplanes=_Counts(gateways + by_type["standard"]).stat(),
        dataplanes_by_type=DataplanesByType(
            gateway=gateways.stat(), **{name: found.stat() for name, found in by_type.items()}
        ),
        policies={kind: stat for kind, stat in resources.items() if KINDS[kind].is_policy},
        resources=resources,
        dp_versions=DpVersions(kuma_dp=kuma_dp.stats(), envoy=envoy.stats()),
        mtls=MeshMtls(issued_backends=issued.stats(), supported_backends=supported.stats()),
        services=_service_stat(service_insight(reader, mesh)),
    )


def _proxy_type(dataplane: Resource) -> str:
    if dataplane.spec.is_builtin_gateway:
        return "gateway_builtin"
    return "gateway_delegated" if dataplane.spec.is_delegated_gateway else "standard"


def _versions(insight: Resource | None) -> tuple[str, str]:
    """Of kuma-dp and Envoy, as the newest connection told them."""
    subscriptions = insight.spec.subscriptions if insight is not None else ()
    version = subscriptions[-1].version if subscriptions else None
    found = (version.kuma_dp, version.envoy) if version is not None else (None, None)
    kuma_dp, envoy = ((part.version if part is not None else "") or UNKNOWN_VERSION for part in found)
    return kuma_dp, envoy


def _resources(reader: Reader, mesh: str | None) -> dict[str, Stat]:
    """How many there are of each kind of mesh scope that there is any of; of all meshes for None."""
    kinds = (kind.name for kind in KINDS.values() if kind.scope == "mesh" and kind.path)
    totals = {kind: len(reader.list(kind, mesh)) for kind in kinds if kind not in _OBSERVED}
    return {kind: Stat(total=total) for kind, total in totals.items() if total}


def _service_stat(insight: Resource) -> ServiceStat:
    services = (insight.spec.services or {}).values()
    external = sum(service.service_type == "external" for service in services)
    return ServiceStat(total=len(services), internal=len(services) - external, external=external)


# --- services -----------------------------------------------------------------------------


def service_insight(reader: Reader, mesh: str) -> Resource:
    """The ServiceInsight of a mesh: the services that its proxies are part of, by name."""
    name = all_services_name(mesh)
    stored = reader.get("ServiceInsight", mesh, name)
    return stored or Resource(
        "ServiceInsight", mesh, name, {}, ServiceInsight(services=_services(reader, mesh))
    )


def _services(reader: Reader, mesh: str) -> dict[str, Service]:
    proxies: dict[str, list[tuple[Resource, Resource | None]]] = {}
    for dataplane in reader.list("Dataplane", mesh):
        insight = insight_of(dataplane, reader)
        for service in dataplane.spec.services:
            proxies.setdefault(service, []).append((dataplane, insight))
    return {service: _service(service, proxies[service]) for service in sorted(proxies)}


def _service(service: str, proxies: list[tuple[Resource, Resource | None]]) -> Service:
    online = sum(_serves(dataplane, insight, service) for dataplane, insight in proxies)
    backends = Counter(
        insight.spec.mtls.issued_backend
        for _, insight in proxies
        if insight is not None and insight.spec.mtls is not None
    )
    return Service(
        status="online" if online == len(proxies) else "partially_degraded" if online else "offline",
        dataplanes=ServiceDataplanes(total=len(proxies), online=online, offline=len(proxies) - online),
        issued_backends=dict(backends) or None,
        service_type=_service_type(proxies[0][0]),
        zones=tuple(sorted({zone for dataplane, _ in proxies for zone in _zones(dataplane, service)})),
    )


def _serves(dataplane: Resource, insight: Resource | None, service: str) -> bool:
    """Whether a proxy is connected, and an inbound of the service is ready."""
    if insight is None or not insight.spec.is_online:
        return False
    networking = dataplane.spec.networking
    if networking.gateway is not None:
        return True
    return any(inbound.is_ready for inbound in networking.inbound if inbound.service == service)


def _service_type(dataplane: Resource) -> ServiceType:
    """The type of a service by one of its proxies."""
    if dataplane.spec.is_builtin_gateway:
        return "gateway_builtin"
    return "gateway_delegated" if dataplane.spec.is_delegated_gateway else "internal"


def _zones(dataplane: Resource, service: str) -> Iterator[str]:
    if dataplane.zone:
        yield dataplane.zone
        return
    for tags in dataplane.spec.tag_sets:
        if tags.get(ZONE_TAG):
            yield tags[ZONE_TAG]


# --- everything ---------------------------------------------------------------------------


def global_insight(reader: Reader, now: str) -> Json:
    """The body of `/global-insight`. now: the time of the answer, RFC 3339."""
    meshes = [mesh_insight(reader, mesh.name).spec for mesh in reader.list("Mesh")]
    services = [service_insight(reader, mesh.name).spec for mesh in reader.list("Mesh")]
    resources = _added((insight.resources for insight in meshes), reader)
    return {
        "createdAt": now,
        "meshes": {"total": len(meshes)},
        "zones": _zones_json(reader),
        "dataplanes": _dataplanes_json(meshes),
        "services": _services_json(services),
        "policies": {"total": sum(stat.total for each in meshes for stat in (each.policies or {}).values())},
        "resources": {kind: {"total": resources[kind]} for kind in sorted(resources)},
    }


def _added(counted: Iterable[Mapping[str, Stat] | None], reader: Reader) -> Counter[str]:
    """Resources of all meshes, and those of global scope."""
    totals: Counter[str] = Counter()
    for stats in counted:
        totals.update({kind: stat.total for kind, stat in (stats or {}).items()})
    for kind in KINDS.values():
        if kind.scope == "global" and kind.path and kind.name not in _OBSERVED:
            totals[kind.name] += len(reader.list(kind.name))
    return +totals


def _zones_json(reader: Reader) -> Json:
    def count(kind: str) -> Json:
        found = reader.list(kind)
        online = sum(_is_online(each, insight_of(each, reader)) for each in found)
        return {"online": online, "total": len(found)}

    return {
        "controlPlanes": count("Zone"),
        "zoneIngresses": count("ZoneIngress"),
        "zoneEgresses": count("ZoneEgress"),
    }


def _is_online(resource: Resource, insight: Resource | None) -> bool:
    status = zone_status(resource, insight) if resource.kind == "Zone" else zone_proxy_status(insight)
    return status is Status.ONLINE


def _dataplanes_json(meshes: Iterable[MeshInsight]) -> Json:
    by_type = [insight.dataplanes_by_type or DataplanesByType() for insight in meshes]
    return {
        "standard": _sum(each.standard for each in by_type),
        "gatewayBuiltin": _sum(each.gateway_builtin for each in by_type),
        "gatewayDelegated": _sum(each.gateway_delegated for each in by_type),
    }


def _sum(stats: Iterable[DataplaneStat | None]) -> Json:
    found = [stat for stat in stats if stat is not None]
    return {
        "online": sum(stat.online for stat in found),
        "offline": sum(stat.offline for stat in found),
        "partiallyDegraded": sum(stat.partially_degraded for stat in found),
        "total": sum(stat.total for stat in found),
    }


def _services_json(insights: Iterable[ServiceInsight]) -> Json:
    services = [service for insight in insights for service in (insight.services or {}).values()]

    def states(kind: ServiceType) -> Json:
        found = Counter(s.status for s in services if s.service_type == kind)
        return {
            "online": found["online"],
            "offline": found["offline"],
            "partiallyDegraded": found["partially_degraded"],
            "total": found.total(),
        }

    return {
        "internal": states("internal"),
        "external": {"total": states("external")["total"]},
        "gatewayBuiltin": states("gateway_builtin"),
        "gatewayDelegated": states("gateway_delegated"),
    }
