"""Policies on drafts: one module per kind, applied in the order of the kinds.

A module offers functions with the names below for the drafts that its kind configures; a resource's
derivation calls the editors of its draft, which call the modules in order:

    edit_backend(draft, backend)              cluster of a destination
    edit_inbound_cluster(draft, inbound)      cluster of the application
    edit_inbound_listener(draft, inbound)     listener of an inbound
    edit_outbound_listener(draft, outbound)   listener of a destination
    edit_route(draft, route, outbound)        one route of an outbound listener
    edit_passthrough(draft, passthrough)      listener of redirected traffic

Each finds its conf in the value that the draft is made from, so that what a policy says is part of
the identity of what it changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xds.config import hcm
from xds.config.confs import KindConfs
from xds.config.draft import Draft
from xds.config.policies import (
    accesslog,
    callers,
    circuitbreaker,
    faultinjection,
    healthcheck,
    loadbalancing,
    meshtls,
    passthrough,
    permission,
    ratelimit,
    retry,
    timeout,
    trace,
)

if TYPE_CHECKING:
    from xds.config.external import External
    from xds.config.gateway import GatewayListener
    from xds.config.inbound import Inbound
    from xds.config.outbound import Backend, Outbound
    from xds.config.routes import Route
    from xds.config.transparent import Passthrough
    from xds.config.zoneproxy import Chain, ZoneListener

BACKEND_KINDS = frozenset(
    {"MeshLoadBalancingStrategy", "MeshTimeout", "MeshHealthCheck", "MeshCircuitBreaker"}
)
"""Kinds of `to` that configure clusters."""

LISTENER_KINDS = frozenset({"MeshLoadBalancingStrategy", "MeshAccessLog", "MeshTimeout", "MeshRetry"})
"""Kinds of `to` that configure listeners and their routes."""

ROUTE_KINDS = frozenset({"MeshLoadBalancingStrategy", "MeshAccessLog", "MeshTimeout", "MeshRetry"})
"""Kinds that may have a conf for one MeshHTTPRoute."""

GATEWAY_KINDS = frozenset({"MeshAccessLog", "MeshFaultInjection", "MeshRateLimit"})
"""Kinds of `to` that configure listeners of gateways."""

GATEWAY_ROUTE_KINDS = frozenset({"MeshRateLimit"})
"""Kinds of `to` that configure routes of gateways only."""

NOTED_KINDS = ("MeshAccessLog", "MeshTimeout")
"""Kinds for which it is noted in requests which rule is theirs."""

PASSTHROUGH_KINDS = frozenset({"MeshAccessLog"})
"""Kinds whose conf for the whole mesh is for traffic that leaves it, too."""


def edit_backend(draft: Draft, backend: Backend) -> None:
    """Apply what policies say of a destination to its cluster."""
    meshtls.edit_backend(draft, backend)
    loadbalancing.edit_backend(draft, backend)
    timeout.edit_backend(draft, backend)
    healthcheck.edit_backend(draft, backend)
    circuitbreaker.edit_backend(draft, backend)


def edit_inbound_cluster(draft: Draft, inbound: Inbound) -> None:
    """Apply what policies say of an inbound to the cluster of the application."""
    timeout.edit_inbound_cluster(draft, inbound)
    circuitbreaker.edit_inbound_cluster(draft, inbound)


def edit_inbound_listener(draft: Draft, inbound: Inbound) -> None:
    """Apply what policies say of an inbound to its listener."""
    meshtls.edit_inbound_listener(draft, inbound)
    accesslog.edit_inbound_listener(draft, inbound)
    trace.edit_inbound_listener(draft, inbound)
    faultinjection.edit_inbound_listener(draft, inbound)
    ratelimit.edit_inbound_listener(draft, inbound)
    timeout.edit_inbound_listener(draft, inbound)
    permission.edit_inbound_listener(draft, inbound)
    callers.note_callers(hcm.managers(draft), inbound.rules, NOTED_KINDS)


def edit_gateway_listener(draft: Draft, listener: GatewayListener) -> None:
    """Apply what policies say of a port of a gateway to its listener."""
    accesslog.edit_gateway_listener(draft, listener)
    trace.edit_gateway_listener(draft, listener)
    faultinjection.edit_gateway_listener(draft, listener)
    ratelimit.edit_gateway_listener(draft, listener)
    timeout.edit_gateway_listener(draft, listener)


def edit_gateway_route(draft: Draft, confs: KindConfs) -> None:
    """Apply what only gateways do to one of their routes."""
    ratelimit.edit_gateway_route(draft, confs)


def edit_outbound_listener(draft: Draft, outbound: Outbound) -> None:
    """Apply what policies say of a destination to its listener."""
    loadbalancing.edit_outbound_listener(draft, outbound)
    accesslog.edit_outbound_listener(draft, outbound)
    trace.edit_outbound_listener(draft, outbound)
    faultinjection.edit_outbound_listener(draft, outbound)
    timeout.edit_outbound_listener(draft, outbound)
    retry.edit_outbound_listener(draft, outbound)


def edit_route(draft: Draft, route: Route, outbound: Outbound) -> None:
    """Apply what policies say of a destination or a route of it to one route."""
    loadbalancing.edit_route(draft, route, outbound)
    accesslog.edit_route(draft, route, outbound)
    timeout.edit_route(draft, route, outbound)
    retry.edit_route(draft, route, outbound)


def edit_external(draft: Draft, external: External) -> None:
    """Apply what policies say of an external service to the cluster that leads out of the mesh."""
    loadbalancing.edit_backend(draft, external)
    timeout.edit_external(draft, external)
    healthcheck.edit_backend(draft, external)
    circuitbreaker.edit_backend(draft, external)


def edit_zone_chain(draft: Draft, chain: Chain, listener: ZoneListener) -> None:
    """Apply what policies say of traffic for one server name to its filter chain in an egress."""
    accesslog.edit_zone_chain(draft, chain, listener.source)
    trace.edit_zone_chain(draft, listener)
    faultinjection.edit_zone_chain(draft, chain)
    ratelimit.edit_zone_chain(draft, chain)
    timeout.edit_zone_chain(draft, chain)
    permission.edit_zone_chain(draft, chain, listener)
    callers.note_callers(hcm.managers({"filter_chains": [draft]}), chain.rules, NOTED_KINDS)


def edit_passed_chain(draft: Draft, chain: Chain, listener: ZoneListener) -> None:
    """Apply what policies say of traffic for one server name to its filter chain in an ingress: it is passed on as
    it is, so only connections are seen."""
    accesslog.edit_zone_chain(draft, chain, listener.source)
    ratelimit.edit_zone_chain(draft, chain)
    timeout.edit_zone_chain(draft, chain)


def edit_passthrough(draft: Draft, value: Passthrough) -> None:
    """Apply what policies say of the mesh as a whole to redirected traffic."""
    passthrough.edit_passthrough(draft, value)
    accesslog.edit_passthrough(draft, value)


def permissive(inbound: Inbound) -> bool:
    """Whether an inbound takes plain traffic next to mTLS."""
    return inbound.security is not None and meshtls.permissive(inbound.confs, inbound.security.permissive)
