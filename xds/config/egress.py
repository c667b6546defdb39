"""Zone egresses that serve all meshes of a zone (kind ZoneEgress): out to other zones and external services.

Traffic for other zones is passed on as it is, by server name, to the entrances there. TLS for external
services ends here, with a certificate of the mesh that asks: the service `zone-egress` answers for them.
Only meshes that want it (`routing.zoneEgress`) leave through it.
"""

from __future__ import annotations

from collections.abc import Iterator

from mesh import naming
from mesh.policy.meta import Meta, with_section
from mesh.policy.proxy import Proxy
from mesh.resource import ORIGIN, ZONE
from xds.config import confs, external, tls
from xds.config.backends import Item
from xds.config.facts import Client, Destination, Pairs, Port, destination, destinations, mesh_facts
from xds.config.identity import Identity
from xds.config.ingress import asked_tags, own_items
from xds.config.localities import Place, placed_assignment
from xds.config.names import tagged_cluster_name
from xds.config.plan import Plan
from xds.config.policies import BACKEND_KINDS
from xds.config.remote import far_endpoints, far_service_endpoints, far_services
from xds.config.zoneproxy import Chain, passed_cluster
from xds.engine import Context, derivation
from xds.types import CLUSTER, ENDPOINT, Encoded

_OPEN = '{"from":[{"tags":[],"conf":{"action":"Allow"}}]}'
_CLOSED = '{"from":[]}'

Exits = tuple[tuple[Chain, ...], tuple[Item, ...]]


@derivation
def egress_plan(ctx: Context, mesh: str, name: str, client: Client) -> Plan | None:
    """The plan of a ZoneEgress; None while it is not known. `mesh` is "": it serves them all."""
    resource = ctx.get("ZoneEgress", mesh, name)
    if resource is None or resource.spec.networking is None:
        return None
    networking = resource.spec.networking
    zone = resource.spec.zone or resource.zone or client.zone
    chains: list[Chain] = []
    items: list[Item] = []
    identities: list[Identity] = []
    for found in ctx.list("Mesh", ""):
        settings = mesh_facts(ctx, found.name)
        security = tls.mesh_security(settings, unified=client.unified) if settings is not None else None
        if settings is None or security is None or not settings.zone_egress:
            continue
        secrets = (security.identity_secret, security.ca_secret)
        identities.append(Identity(found.name, name, *secrets, (external.EGRESS_SERVICE,), ()))
        for of_mesh, found_items in (
            far_exits(ctx, found.name, zone),
            external_exits(ctx, found.name, zone, client, security),
        ):
            chains.extend(of_mesh)
            items.extend(found_items)
    items.extend(own_items(ctx, name, zone, networking, client, chains))
    return Plan(tuple(items), (), identities=tuple(identities))


# --- to other zones --------------------------------------------------------------------------------


@derivation
def far_exits(ctx: Context, mesh: str, zone: str) -> Exits:
    """The ways from a zone to what a mesh has in others."""
    chains: list[Chain] = []
    items: dict[str, tuple[Item, Item]] = {}
    for tags in asked_tags(ctx, mesh, far_services(ctx, mesh, zone)):
        name = f"{mesh}:{tagged_cluster_name(dict(tags))}"
        chains.append(Chain(naming.sni_of_tags(dict(tags), mesh), name))
        query = far_service_assignment.query(name, mesh, tags, zone)
        items[name] = (Item(CLUSTER, name, passed_cluster.query(name)), Item(ENDPOINT, name, query))
    for kind, stored in destinations(ctx, mesh):
        facts = destination(ctx, kind, mesh, stored) if kind != "MeshExternalService" else None
        if facts is None or (kind == "MeshService" and facts.zone in ("", zone)):
            continue
        for port in facts.ports:
            name = with_section(facts.kri, port.section)
            chains += [Chain(sni, name) for sni in sorted(_server_names(facts, port))]
            query = far_assignment.query(name, kind, mesh, stored, zone)
            items[name] = (Item(CLUSTER, name, passed_cluster.query(name)), Item(ENDPOINT, name, query))
    return tuple(chains), tuple(item for both in items.values() for item in both)


def _server_names(facts: Destination, port: Port) -> set[str]:
    return {tls.sni_of(how, facts, port) for how in (None, tls.Security("", "", ()))}


@derivation
def far_assignment(ctx: Context, cluster: str, kind: str, mesh: str, name: str, zone: str) -> Encoded:
    """The entrances of other zones behind which a destination is."""
    return placed_assignment(cluster, far_endpoints(ctx, kind, mesh, name, zone), Place(zone))


@derivation
def far_service_assignment(ctx: Context, cluster: str, mesh: str, tags: Pairs, zone: str) -> Encoded:
    """The entrances of other zones behind which there are inbounds with some tags."""
    return placed_assignment(cluster, far_service_endpoints(ctx, mesh, tags, zone), Place(zone))


# --- to external services --------------------------------------------------------------------------


@derivation
def external_exits(ctx: Context, mesh: str, zone: str, client: Client, security: tls.Security) -> Exits:
    """The ways to the external services of a mesh, for its members."""
    resource = ctx.get("Mesh", "", mesh)
    routing = resource.spec.routing if resource is not None else None
    closed = routing is not None and routing.default_forbid_mesh_external_service_access
    found = list(_external(ctx, mesh, zone, client, security, _CLOSED if closed else _OPEN))
    return tuple(chain for chain, _ in found), tuple(item for _, item in found)


@derivation
def policies_of_anybody(ctx: Context, mesh: str, zone: str) -> tuple[tuple[str, confs.Names], ...]:
    """The policies that select any proxy of a mesh in a zone: an egress carries what all of them send."""
    labels = {ORIGIN: "zone", ZONE: zone} if zone else {}
    anybody = Proxy(Meta("Dataplane", mesh, "", labels), ())
    return confs.match_all(ctx, anybody, shadow=False).to


def _external(
    ctx: Context, mesh: str, zone: str, client: Client, security: tls.Security, permissions: str
) -> Iterator[tuple[Chain, Item]]:
    matched = policies_of_anybody(ctx, mesh, zone)
    for kind, stored in destinations(ctx, mesh):
        facts = destination(ctx, kind, mesh, stored) if kind == "MeshExternalService" else None
        for port in facts.ports if facts is not None else ():
            assert facts is not None
            name = with_section(facts.kri, port.section)
            sni = tls.sni_of(security, facts, port)
            value = external.External(
                name=name,
                mesh=mesh,
                service=stored,
                protocol=port.protocol,
                ipv6=client.ipv6,
                system_ca=client.system_ca_path,
                confs=confs.only(confs.to_confs(ctx, mesh, matched, facts.kri, port.section), BACKEND_KINDS),
            )
            yield (
                Chain(sni, name, port.protocol, security, permissions=permissions),
                Item(CLUSTER, name, external.external_cluster.query(value)),
            )
