"""Endpoints: one frame per inbound, from which assignments are spliced.

One derivation per Dataplane and selector makes the frames, so when one proxy of ten thousand
changes, one frame is encoded and the rest is concatenation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from mesh.resource import DISPLAY_NAME, SERVICE_TAG, ZONE_TAG
from xds.config.draft import Fields, serialized
from xds.config.facts import InboundFacts, Pairs, Port, dataplane_facts, destination, pairs
from xds.encode import socket_endpoint_frame
from xds.engine import Context, derivation

LB_ENDPOINT = "envoy.config.endpoint.v3.LbEndpoint"
LB_METADATA = "envoy.lb"
SOCKET_METADATA = "envoy.transport_socket_match"
LABELS_METADATA = "io.kuma.labels"


@dataclass(frozen=True, slots=True)
class Selector:
    """Which inbounds of which Dataplanes serve a port.

    tags: what an inbound carries; labels: what the Dataplane carries; name: which Dataplane. target:
    the port or name of the inbound, None for any.
    """

    tags: Pairs = ()
    labels: Pairs = ()
    name: str = ""
    target: int | str | None = None

    def takes(self, inbound: InboundFacts) -> bool:
        """Whether an inbound of a selected Dataplane serves the port and may get traffic."""
        if not inbound.ready or not set(self.tags) <= set(inbound.tags):
            return False
        if self.target is None:
            return True
        if isinstance(self.target, str):
            return inbound.named and inbound.section == self.target
        return inbound.port == self.target


class Endpoint(NamedTuple):
    """One endpoint: where it is, and its frame in an assignment. tags: for load balancing by place."""

    zone: str
    frame: bytes
    tags: Pairs
    address: str = ""
    port: int = 0


@derivation
def dataplane_endpoints(ctx: Context, mesh: str, name: str, selector: Selector) -> tuple[Endpoint, ...]:
    """The endpoints that one Dataplane contributes."""
    facts = dataplane_facts(ctx, mesh, name)
    if facts is None or not _has_labels(selector.labels, facts.labels):
        return ()
    labels = tuple((key, value) for key, value in facts.labels if key != DISPLAY_NAME)
    found = []
    for inbound in facts.inbounds:
        if selector.takes(inbound):
            tags = tuple(pair for pair in inbound.tags if pair[0] != SERVICE_TAG)
            address, port = inbound.advertised, inbound.port
            frame = socket_endpoint_frame(address, port, endpoint_rest(tags, labels))
            found.append(Endpoint(dict(tags).get(ZONE_TAG, ""), frame, tags, address, port))
    return tuple(found)


def _has_labels(wanted: Pairs, labels: Pairs) -> bool:
    return set(wanted) <= set(labels)


@lru_cache(maxsize=4096)
def endpoint_rest(tags: Pairs, labels: Pairs, weight: int = 1) -> bytes:
    """The bytes of an LbEndpoint after its address: metadata and weight."""
    found: dict[str, Mapping[str, str]] = {}
    if tags:
        found = {LB_METADATA: dict(tags), SOCKET_METADATA: dict(tags)}
    if labels:
        found[LABELS_METADATA] = dict(labels)
    draft = {"load_balancing_weight": {"value": weight}}
    if found:
        draft["metadata"] = {"filter_metadata": {key: Fields(tags) for key, tags in found.items()}}  # type: ignore[dict-item]
    return serialized(LB_ENDPOINT, draft)


@derivation
def selected_endpoints(ctx: Context, mesh: str, selector: Selector) -> tuple[Endpoint, ...]:
    """All endpoints that a selector finds in the local zone, in order of the Dataplanes' names."""
    found: list[Endpoint] = []
    for name in candidates(ctx, mesh, selector):
        found.extend(dataplane_endpoints(ctx, mesh, name, selector))
    return tuple(found)


def candidates(ctx: Context, mesh: str, selector: Selector) -> Sequence[str]:
    """Names of the Dataplanes that a selector may find, by the narrowest index."""
    if selector.name:
        return (selector.name,)
    tags = dict(selector.tags)
    if SERVICE_TAG in tags:
        keys = ctx.lookup("dataplane_by_service", mesh, tags[SERVICE_TAG])
    elif tags:
        tag, value = selector.tags[0]
        keys = ctx.lookup("dataplane_by_tag", mesh, tag, value)
    elif selector.labels:
        label, value = selector.labels[0]
        keys = ctx.lookup("by_label", "Dataplane", mesh, label, value)
    else:
        keys = ()
    return [key.name for key in keys]


# --- destinations ---------------------------------------------------------------------------------


@derivation
def service_endpoints(ctx: Context, mesh: str, name: str, port: int) -> tuple[Endpoint, ...]:
    """The endpoints of one port of a MeshService, as far as its Dataplanes are known here."""
    facts = destination(ctx, "MeshService", mesh, name)
    found = facts.port(port) if facts is not None else None
    selector = service_selector(ctx, mesh, name)
    if found is None or selector is None:
        return ()
    return selected_endpoints(ctx, mesh, _targeting(selector, found))


def _targeting(selector: Selector, port: Port) -> Selector:
    return Selector(selector.tags, selector.labels, selector.name, port.target)


@derivation
def service_selector(ctx: Context, mesh: str, name: str) -> Selector | None:
    """Whom a MeshService selects; None when it selects nothing."""
    resource = ctx.get("MeshService", mesh, name)
    if resource is None:
        return None
    selector = resource.spec.selector
    if selector.dataplane_ref is not None and selector.dataplane_ref.name:
        return Selector(name=selector.dataplane_ref.name)
    if selector.dataplane_labels is not None:
        return Selector(labels=pairs(selector.dataplane_labels.match_labels))
    if selector.dataplane_tags:
        return Selector(tags=pairs(selector.dataplane_tags))
    return None


@derivation
def multi_zone_members(ctx: Context, mesh: str, name: str) -> tuple[str, ...]:
    """Stored names of the MeshServices behind a MeshMultiZoneService."""
    resource = ctx.get("MeshMultiZoneService", mesh, name)
    if resource is None:
        return ()
    wanted = pairs(resource.spec.selector.mesh_service.match_labels)
    if not wanted:
        return ()
    found = [set(ctx.lookup("by_label", "MeshService", mesh, label, value)) for label, value in wanted]
    return tuple(key.name for key in sorted(set.intersection(*found)))
