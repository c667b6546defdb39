"""The status of a destination: its names, its address, its proxies."""

from __future__ import annotations

from typing import Any

import msgspec

from cp.generators.hostnames import names_of
from cp.generators.proxies import Count, proxies_behind
from mesh.kinds.common import Address, HostnameGeneratorStatus, Vip
from mesh.kinds.meshexternalservice import MeshExternalServiceStatus
from mesh.kinds.meshservice import (
    DataplaneProxies,
    MatchedMeshService,
    MeshMultiZoneServiceStatus,
    MeshServiceStatus,
)
from mesh.resource import K8S_NAMESPACE, Resource
from xds.config.endpoints import multi_zone_members, service_selector
from xds.engine import Context, derivation


class Found(msgspec.Struct, frozen=True):
    """What a status says, but for the address. members: of a MeshMultiZoneService."""

    addresses: tuple[Address, ...]
    generators: tuple[HostnameGeneratorStatus, ...]
    proxies: Count = Count()
    members: tuple[MatchedMeshService, ...] = ()


@derivation
def found_of(ctx: Context, kind: str, mesh: str, name: str) -> Found:
    """What is known of a destination."""
    names = names_of(ctx, kind, mesh, name)
    if kind == "MeshService":
        selector = service_selector(ctx, mesh, name)
        proxies = proxies_behind(ctx, mesh, selector) if selector is not None else Count()
        return Found(names.addresses, names.generators, proxies)
    if kind == "MeshMultiZoneService":
        members = (member(ctx, mesh, each) for each in multi_zone_members(ctx, mesh, name))
        return Found(names.addresses, names.generators, members=tuple(members))
    return Found(names.addresses, names.generators)


@derivation
def member(ctx: Context, mesh: str, name: str) -> MatchedMeshService:
    """A MeshService as a MeshMultiZoneService names it."""
    service = ctx.get("MeshService", mesh, name)
    labels = service.labels if service is not None else {}
    return MatchedMeshService(
        name=service.display_name if service is not None else name,
        namespace=labels.get(K8S_NAMESPACE, ""),
        zone=service.zone if service is not None else "",
        mesh=mesh,
    )


def address_of(resource: Resource) -> str | None:
    """The virtual address that a destination has."""
    status = resource.status
    if status is None:
        return None
    if resource.kind == "MeshExternalService":
        return status.vip.ip or None
    return next((vip.ip for vip in status.vips if vip.ip), None)


def status_of(resource: Resource, found: Found, address: str, *, local: bool) -> Any:
    """The status to write, with what is not decided here as it is: whether TLS is ready, and the proxies of
    a service that is not local."""
    if resource.kind == "MeshExternalService":
        return MeshExternalServiceStatus(
            vip=Vip(ip=address), addresses=found.addresses, hostname_generators=found.generators
        )
    if resource.kind == "MeshMultiZoneService":
        conditions = resource.status.conditions if resource.status is not None else ()
        return MeshMultiZoneServiceStatus(
            mesh_services=found.members,
            addresses=found.addresses,
            vips=(Vip(ip=address),),
            hostname_generators=found.generators,
            conditions=conditions,
        )
    status = resource.status or MeshServiceStatus()
    proxies = DataplaneProxies(**found.proxies._asdict()) if local else status.dataplane_proxies
    return msgspec.structs.replace(
        status,
        addresses=found.addresses,
        vips=(Vip(ip=address),),
        hostname_generators=found.generators,
        dataplane_proxies=proxies,
    )
