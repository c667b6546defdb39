"""MeshServices of the services that Dataplanes name in the tags of their inbounds.

All Dataplanes of a service should agree on its ports; where they do not, the first in order of
names is right. A MeshService that somebody wrote by hand is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from mesh.dnsnames import is_1035_label
from mesh.kinds.dataplane import Inbound
from mesh.kinds.meshservice import Identity, MeshService, Port, Selector
from mesh.resource import PROTOCOL_TAG, SERVICE_TAG, Resource
from xds.config.spiffe import spiffe_of
from xds.engine import Context, derivation

MANAGER = "meshservice-generator"


@dataclass(frozen=True, slots=True)
class Offer:
    """What one Dataplane says of a service. ready: at least one of its inbounds takes traffic. spiffe_id: "" without
    a MeshIdentity."""

    ports: tuple[Port, ...]
    ready: bool
    spiffe_id: str = ""


@derivation
def wanted_service(ctx: Context, mesh: str, service: str) -> MeshService | None:
    """The MeshService that a service should have; None when it should have none."""
    if not generates(ctx, mesh) or not is_1035_label(service):
        return None
    found = [offer(ctx, key.name, mesh, service) for key in ctx.lookup("dataplane_by_service", mesh, service)]
    offers = [each for each in found if each is not None]
    if not offers:
        return None
    return MeshService(
        state="Available" if any(each.ready for each in offers) else "Unavailable",
        selector=Selector(dataplane_tags={SERVICE_TAG: service}),
        ports=offers[0].ports,
        identities=(
            *(
                Identity(type="SpiffeID", value=value)
                for value in sorted({each.spiffe_id for each in offers} - {""})
            ),
            Identity(type="ServiceTag", value=service),
        ),
    )


@derivation
def generates(ctx: Context, mesh: str) -> bool:
    """Whether the services of a mesh become MeshServices."""
    resource = ctx.get("Mesh", "", mesh)
    return resource is not None and resource.spec.mesh_services_mode != "Disabled"


@derivation
def offer(ctx: Context, name: str, mesh: str, service: str) -> Offer | None:
    """What a Dataplane offers under a service's name; None without an inbound of that name."""
    dataplane = ctx.get("Dataplane", mesh, name)
    if dataplane is None:
        return None
    inbounds = _inbounds(dataplane, service)
    ports = {inbound.port: _port(inbound) for inbound in inbounds}
    if not ports:
        return None
    spiffe = spiffe_of(ctx, mesh, name, dataplane.zone)
    spiffe_id = spiffe.spiffe_id if spiffe is not None else ""
    return Offer(tuple(ports.values()), any(inbound.is_ready for inbound in inbounds), spiffe_id)


def _inbounds(dataplane: Resource, service: str) -> list[Inbound]:
    networking = dataplane.spec.networking
    inbounds = networking.inbound if networking is not None else ()
    return [each for each in inbounds if each.state != "Ignored" and each.service == service]


def _port(inbound: Inbound) -> Port:
    tags = inbound.tags or {}
    return Port(
        port=inbound.port,
        name=inbound.name or None,
        target_port=inbound.port,
        app_protocol=tags.get(PROTOCOL_TAG) or "tcp",
    )
