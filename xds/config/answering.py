"""Who answers for a destination: the identities that a client demands of the other end.

Generated MeshServices say which identities their proxies have. One that somebody wrote need not; then those of
the proxies that it selects count, since a client that demands none would take any member of the mesh for the
service. A MeshMultiZoneService is answered for by the proxies of all its services.
"""

from __future__ import annotations

from dataclasses import replace

from xds.config.endpoints import Selector, candidates, multi_zone_members, service_selector
from xds.config.facts import Destination, Pairs, dataplane_facts, destination
from xds.config.spiffe import spiffe_of
from xds.engine import Context, derivation


@derivation
def answering(ctx: Context, kind: str, mesh: str, name: str, zone: str) -> Destination | None:
    """The facts of a destination, with the identities of whoever answers for it to clients in a zone."""
    facts = destination(ctx, kind, mesh, name)
    if facts is None or kind == "MeshExternalService":
        return facts
    if kind == "MeshService":
        return replace(facts, identities=identities_of(ctx, mesh, name, zone))
    members = multi_zone_members(ctx, mesh, name)
    found = [
        each for each in (answering(ctx, "MeshService", mesh, m, zone) for m in members) if each is not None
    ]
    identities = tuple(dict.fromkeys(identity for each in found for identity in each.identities))
    return replace(facts, identities=identities, tls_ready=all(each.tls_ready for each in found))


@derivation
def identities_of(ctx: Context, mesh: str, name: str, zone: str) -> Pairs:
    """(type, value) of the identities that the proxies of a MeshService present."""
    facts = destination(ctx, "MeshService", mesh, name)
    selector = service_selector(ctx, mesh, name)
    if facts is None or facts.identities or selector is None:
        return facts.identities if facts is not None else ()
    names = candidates(ctx, mesh, selector)
    found = {identity for each in names for identity in _identities_at(ctx, mesh, each, selector, zone)}
    return tuple(sorted(found))


@derivation
def _identities_at(ctx: Context, mesh: str, name: str, selector: Selector, zone: str) -> Pairs:
    """Those of one proxy, if it is selected; it stops the wave of whatever else changes in it."""
    facts = dataplane_facts(ctx, mesh, name)
    if facts is None or not set(selector.labels) <= set(facts.labels):
        return ()
    inbounds = [inbound for inbound in facts.inbounds if set(selector.tags) <= set(inbound.tags)]
    if not inbounds:
        return ()
    spiffe = spiffe_of(ctx, mesh, name, zone)
    services = {("ServiceTag", inbound.service) for inbound in inbounds if inbound.service}
    return tuple(sorted(services | ({("SpiffeID", spiffe.spiffe_id)} if spiffe is not None else set())))
