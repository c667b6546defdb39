"""Zone ingresses that serve all meshes of a zone (kind ZoneIngress): in by server name, end to end TLS.

Services known by tags have a server name made of their tags; of all sets of tags that routes split
traffic by, those that some route of the mesh names are offered, beside the whole service.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from mesh import naming
from mesh.policy.proxy import item_of
from mesh.resource import SERVICE_TAG
from xds.config import assignments, tls
from xds.config.backends import Item
from xds.config.facts import Client, Pairs, destination, destinations, pairs
from xds.config.localities import Place
from xds.config.names import tagged_cluster_name
from xds.config.plan import Plan, admin_items
from xds.config.services import services_of
from xds.config.tls import Security
from xds.config.zoneproxy import Chain, ZoneListener, passed_cluster, zone_listener
from xds.engine import Context, derivation
from xds.types import CLUSTER, ENDPOINT, LISTENER

_SPIFFE = Security("", "", (), spiffe=True)
_OLD = Security("", "", ())


@derivation
def ingress_plan(ctx: Context, mesh: str, name: str, client: Client) -> Plan | None:
    """The plan of a ZoneIngress; None while it is not known. `mesh` is "": it serves them all."""
    resource = ctx.get("ZoneIngress", mesh, name)
    if resource is None or resource.spec.networking is None:
        return None
    networking = resource.spec.networking
    zone = resource.spec.zone or resource.zone or client.zone
    chains: list[Chain] = []
    items: list[Item] = []
    for found in ctx.list("Mesh", ""):
        of_mesh, clusters = mesh_chains(ctx, found.name, zone)
        chains.extend(of_mesh)
        items.extend(clusters)
    return Plan((*own_items(ctx, name, zone, networking, client, chains), *items), ())


def own_items(
    ctx: Context, name: str, zone: str, networking: Any, client: Client, chains: Iterable[Chain]
) -> Iterator[Item]:
    """What a zone proxy that serves all meshes has, whatever they have: its one listener, and the way to its Envoy."""
    listener = ZoneListener(
        name=naming.inbound_listener_name(networking.address, networking.port),
        address=networking.address,
        port=networking.port,
        mesh="",
        proxy_name=name,
        zone=zone,
        reuse_port=client.reuse_port,
        chains=tuple(sorted(chains, key=lambda chain: chain.sni)),
    )
    yield Item(LISTENER, listener.name, zone_listener.query(listener))
    own = networking.admin.port if networking.admin is not None else 0
    yield from admin_items(ctx, networking.address, own or client.admin_port, client)


@derivation
def mesh_chains(ctx: Context, mesh: str, zone: str) -> tuple[tuple[Chain, ...], tuple[Item, ...]]:
    """What an ingress offers of one mesh."""
    chains: list[Chain] = []
    items: dict[str, tuple[Item, Item]] = {}
    for tags in offered_tags(ctx, mesh):
        name = f"{mesh}:{tagged_cluster_name(dict(tags))}"
        chains.append(Chain(naming.sni_of_tags(dict(tags), mesh), name))
        query = assignments.service_assignment.query(name, mesh, tags, Place(zone))
        items[name] = (Item(CLUSTER, name, passed_cluster.query(name)), Item(ENDPOINT, name, query))
    for kind, stored in destinations(ctx, mesh):
        facts = destination(ctx, kind, mesh, stored) if kind != "MeshExternalService" else None
        if facts is None or (kind == "MeshService" and facts.zone not in ("", zone)):
            continue
        for port in facts.ports:
            name = naming.kri(
                naming.short_name(kind), mesh, facts.display_name, zone=facts.zone, section=port.section
            )
            chains += [Chain(tls.sni_of(how, facts, port), name) for how in (_OLD, _SPIFFE)]
            query = assignments.assignment.query(name, kind, mesh, stored, port.number, Place(zone))
            items[name] = (Item(CLUSTER, name, passed_cluster.query(name)), Item(ENDPOINT, name, query))
    return tuple(chains), tuple(item for both in items.values() for item in both)


@derivation
def offered_tags(ctx: Context, mesh: str) -> tuple[Pairs, ...]:
    """The sets of tags by which traffic from other zones may ask for inbounds of a mesh."""
    return asked_tags(ctx, mesh, services_of(ctx, mesh, True))


def asked_tags(ctx: Context, mesh: str, services: Collection[str]) -> tuple[Pairs, ...]:
    """Services by their tag alone, and by all tags by which routes of the mesh split their traffic."""
    found: dict[Pairs, None] = {}
    for service in services:
        found[(SERVICE_TAG, service),] = None
    known = set(services)
    for kind in ("MeshHTTPRoute", "MeshTCPRoute"):
        for resource in ctx.list(kind, mesh):
            for ref in _refs(item_of(resource).spec):
                if ref.get("kind") == "MeshServiceSubset" and ref.get("name") in known:
                    found[pairs({SERVICE_TAG: ref["name"], **(ref.get("tags") or {})})] = None
    return tuple(found)


def _refs(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in spec.get("to") or ():
        for rule in entry.get("rules") or ():
            yield from (rule.get("default") or {}).get("backendRefs") or ()
